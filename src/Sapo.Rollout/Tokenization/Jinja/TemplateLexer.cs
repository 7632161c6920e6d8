// Template text -> tokens, as Jinja2 does it with trim_blocks and lstrip_blocks (the settings of transformers):
//   a block tag or comment eats the line break behind it and the blanks before it on its line
//   "-" inside a tag eats all white space on its side, "+" turns the rule above off
//   one line break at the very end of the template is dropped; every line break is read as \n
using System.Globalization;
using System.Text;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>The kinds of tokens.</summary>
internal enum TokenKind
{
    /// <summary>Text outside of tags, ready to be written.</summary>
    Text,

    /// <summary><c>{{</c></summary>
    OutputBegin,

    /// <summary><c>}}</c></summary>
    OutputEnd,

    /// <summary><c>{%</c></summary>
    BlockBegin,

    /// <summary><c>%}</c></summary>
    BlockEnd,

    /// <summary>A name or keyword.</summary>
    Name,

    /// <summary>A string literal, its escapes resolved.</summary>
    String,

    /// <summary>A whole number.</summary>
    Integer,

    /// <summary>A number with a point or an exponent.</summary>
    Float,

    /// <summary>An operator or bracket.</summary>
    Operator,

    /// <summary>The end of the template.</summary>
    End,
}

/// <summary>One token.</summary>
/// <param name="Kind">Its kind.</param>
/// <param name="Text">Its text; of a string literal the value.</param>
/// <param name="Line">Its line, from 1.</param>
internal readonly record struct Token(TokenKind Kind, string Text, int Line);

/// <summary>Cuts one template. Use <see cref="Tokenize"/>.</summary>
internal sealed class TemplateLexer
{
    private static readonly string[] Operators = ["**", "//", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private int _at;
    private int _lineCountedTo;
    private int _line = 1;
    private bool _lineStarting = true;

    private TemplateLexer(string source) => _source = source;

    /// <summary>All tokens of a template, <see cref="TokenKind.End"/> last.</summary>
    public static List<Token> Tokenize(string template)
    {
        var text = template.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        var lexer = new TemplateLexer(text.EndsWith('\n') ? text[..^1] : text);
        while (lexer._at < lexer._source.Length) lexer.TextAndTag();
        lexer.Add(TokenKind.End, "");
        return lexer._tokens;
    }

    private void TextAndTag()
    {
        var start = _at;
        var tag = NextTag(_at);
        if (tag < 0)
        {
            _at = _source.Length;
            AddText(_source[start..]);
            return;
        }
        var sign = tag + 2 < _source.Length && _source[tag + 2] is '-' or '+' ? _source[tag + 2] : '\0';
        AddText(BeforeTag(_source[start..tag], sign, isOutput: _source[tag + 1] == '{'));
        _at = tag + (sign == '\0' ? 2 : 3);
        _lineStarting = false;
        switch (_source[tag + 1])
        {
            case '#':
                Comment();
                break;
            case '{':
                Add(TokenKind.OutputBegin, "{{");
                InsideTag(TokenKind.OutputEnd, "}}");
                break;
            default:
                if (TryRaw()) break;
                Add(TokenKind.BlockBegin, "{%");
                InsideTag(TokenKind.BlockEnd, "%}");
                break;
        }
    }

    private int NextTag(int from)
    {
        for (var i = _source.IndexOf('{', from); i >= 0 && i + 1 < _source.Length; i = _source.IndexOf('{', i + 1))
            if (_source[i + 1] is '{' or '%' or '#') return i;
        return -1;
    }

    /// <summary>What is left of the text before a tag.</summary>
    private string BeforeTag(string text, char sign, bool isOutput)
    {
        if (sign == '-') return text.TrimEnd(PythonText.WhiteSpace);
        if (sign == '+' || isOutput) return text;
        var lineStart = text.LastIndexOf('\n') + 1;
        if (lineStart == 0 && !_lineStarting) return text;
        return text.AsSpan(lineStart).Trim(PythonText.WhiteSpace).IsEmpty ? text[..lineStart] : text;
    }

    private void Comment()
    {
        var end = _source.IndexOf("#}", _at, StringComparison.Ordinal);
        if (end < 0) throw Error("a comment is never closed by #}");
        var sign = end > _at ? _source[end - 1] : '\0';
        _at = end + 2;
        AfterBlock(sign);
    }

    /// <summary>What a block tag or comment takes with it behind its end.</summary>
    private void AfterBlock(char sign)
    {
        if (sign == '-') SkipWhiteSpace();
        else if (sign != '+' && _at < _source.Length && _source[_at] == '\n') _at++;
        _lineStarting = _source[_at - 1] == '\n';
    }

    /// <summary>Reads <c>raw ... endraw</c>, if that is what the block just begun holds.</summary>
    private bool TryRaw()
    {
        var (bodyStart, sign) = KeywordTag(_at, "raw");
        if (bodyStart < 0) return false;
        _at = bodyStart;
        if (sign == '-') SkipWhiteSpace();
        var start = _at;
        for (var tag = _source.IndexOf("{%", _at, StringComparison.Ordinal); tag >= 0; tag = _source.IndexOf("{%", tag + 1, StringComparison.Ordinal))
        {
            var openSign = tag + 2 < _source.Length && _source[tag + 2] is '-' or '+' ? _source[tag + 2] : '\0';
            var (end, closeSign) = KeywordTag(tag + (openSign == '\0' ? 2 : 3), "endraw");
            if (end < 0) continue;
            _lineStarting = false;
            AddText(BeforeTag(_source[start..tag], openSign, isOutput: false));
            _at = end;
            AfterBlock(closeSign);
            return true;
        }
        throw Error("a raw block is never closed by endraw");
    }

    /// <summary>Where a block tag ends that holds only a keyword (-1: it holds something else), and the sign before its end.</summary>
    private (int End, char Sign) KeywordTag(int from, string keyword)
    {
        var i = from;
        while (i < _source.Length && PythonText.IsSpace(_source[i])) i++;
        if (!_source.AsSpan(i).StartsWith(keyword)) return (-1, '\0');
        i += keyword.Length;
        while (i < _source.Length && PythonText.IsSpace(_source[i])) i++;
        var sign = i < _source.Length && _source[i] is '-' or '+' ? _source[i++] : '\0';
        return _source.AsSpan(i).StartsWith("%}") ? (i + 2, sign) : (-1, '\0');
    }

    private void InsideTag(TokenKind endKind, string end)
    {
        var open = new Stack<char>();
        while (true)
        {
            SkipWhiteSpace();
            if (_at >= _source.Length) throw Error($"a tag is never closed by {end}");
            var signed = _source[_at] == '-' || (_source[_at] == '+' && endKind == TokenKind.BlockEnd);
            if (open.Count == 0 && _source.AsSpan(_at + (signed ? 1 : 0)).StartsWith(end))
            {
                var sign = signed ? _source[_at] : '\0';
                Add(endKind, end);
                _at += end.Length + (signed ? 1 : 0);
                if (endKind == TokenKind.BlockEnd) AfterBlock(sign);
                else if (signed) SkipWhiteSpace();
                _lineStarting = _source[_at - 1] == '\n';
                return;
            }
            var character = _source[_at];
            if (character is '\'' or '"') StringLiteral(character);
            else if (char.IsAsciiDigit(character)) Number();
            else if (character == '_' || char.IsLetter(character)) Name();
            else Operator(open);
        }
    }

    private void Operator(Stack<char> open)
    {
        var found = Array.Find(Operators, candidate => _source.AsSpan(_at).StartsWith(candidate)) ?? throw Error($"the character {_source[_at]} is not part of the template language");
        if (found is "(" or "[" or "{") open.Push(found[0]);
        if (found is ")" or "]" or "}")
        {
            var expected = found switch { ")" => '(', "]" => '[', _ => '{' };
            if (!open.TryPop(out var opened) || opened != expected) throw Error($"an unexpected {found}");
        }
        Add(TokenKind.Operator, found);
        _at += found.Length;
    }

    private void Name()
    {
        var start = _at;
        while (_at < _source.Length && (_source[_at] == '_' || char.IsLetterOrDigit(_source[_at]))) _at++;
        Add(TokenKind.Name, _source[start.._at]);
    }

    private void Number()
    {
        var start = _at;
        // In messages.0.role the 0 is an index, not the beginning of a number with a point.
        var mayHavePoint = start == 0 || _source[start - 1] != '.';
        var kind = TokenKind.Integer;
        SkipDigits();
        if (mayHavePoint && _at + 1 < _source.Length && _source[_at] == '.' && char.IsAsciiDigit(_source[_at + 1]))
        {
            kind = TokenKind.Float;
            _at++;
            SkipDigits();
        }
        if (mayHavePoint && _at < _source.Length && _source[_at] is 'e' or 'E')
        {
            var digits = _at + 1 < _source.Length && _source[_at + 1] is '+' or '-' ? _at + 2 : _at + 1;
            if (digits >= _source.Length || !char.IsAsciiDigit(_source[digits])) throw Error("a number with a broken exponent");
            kind = TokenKind.Float;
            _at = digits;
            SkipDigits();
        }
        var text = _source[start.._at];
        if (kind == TokenKind.Integer && text.Length > 1 && text[0] == '0') throw Error($"the number {text} with a leading zero");
        Add(kind, text);
    }

    private void SkipDigits()
    {
        while (_at < _source.Length && char.IsAsciiDigit(_source[_at])) _at++;
    }

    private void StringLiteral(char quote)
    {
        var value = new StringBuilder();
        var i = _at + 1;
        while (true)
        {
            if (i >= _source.Length) throw Error("a string is never closed");
            var character = _source[i++];
            if (character == quote) break;
            if (character == '\\' && i < _source.Length) Escape(value, ref i);
            else value.Append(character);
        }
        Add(TokenKind.String, value.ToString());
        _at = i;
    }

    /// <summary>One escape of a Python string literal; an unknown one keeps its backslash.</summary>
    private void Escape(StringBuilder value, ref int i)
    {
        var character = _source[i++];
        switch (character)
        {
            case '\n': break;
            case '\\' or '\'' or '"': value.Append(character); break;
            case 'a': value.Append('\a'); break;
            case 'b': value.Append('\b'); break;
            case 'f': value.Append('\f'); break;
            case 'n': value.Append('\n'); break;
            case 'r': value.Append('\r'); break;
            case 't': value.Append('\t'); break;
            case 'v': value.Append('\v'); break;
            case 'x': CodePoint(value, ref i, 2); break;
            case 'u': CodePoint(value, ref i, 4); break;
            case 'U': CodePoint(value, ref i, 8); break;
            case 'N' or (>= '0' and <= '7'): throw Error($"the escape \\{character} in a string is not supported");
            default: value.Append('\\').Append(character); break;
        }
    }

    private void CodePoint(StringBuilder value, ref int i, int digits)
    {
        if (i + digits > _source.Length || !int.TryParse(_source.AsSpan(i, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var codePoint) || !Rune.IsValid(codePoint))
            throw Error("a broken or unpaired character escape in a string");
        value.Append(new Rune(codePoint).ToString());
        i += digits;
    }

    private void SkipWhiteSpace()
    {
        while (_at < _source.Length && PythonText.IsSpace(_source[_at])) _at++;
    }

    private void AddText(string text)
    {
        if (text.Length > 0) Add(TokenKind.Text, text);
    }

    private void Add(TokenKind kind, string text) => _tokens.Add(new Token(kind, text, CurrentLine()));

    private int CurrentLine()
    {
        for (; _lineCountedTo < Math.Min(_at, _source.Length); _lineCountedTo++)
            if (_source[_lineCountedTo] == '\n') _line++;
        return _line;
    }

    private TemplateException Error(string message) => new(message, CurrentLine());
}
