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

    private readonly string source;
    private readonly List<Token> tokens = [];
    private int at;
    private int lineCountedTo;
    private int line = 1;
    private bool lineStarting = true;

    private TemplateLexer(string source) => this.source = source;

    /// <summary>All tokens of a template, <see cref="TokenKind.End"/> last.</summary>
    public static List<Token> Tokenize(string template)
    {
        var text = template.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        var lexer = new TemplateLexer(text.EndsWith('\n') ? text[..^1] : text);
        while (lexer.at < lexer.source.Length) lexer.TextAndTag();
        lexer.Add(TokenKind.End, "");
        return lexer.tokens;
    }

    private void TextAndTag()
    {
        var start = at;
        var tag = NextTag(at);
        if (tag < 0)
        {
            at = source.Length;
            AddText(source[start..]);
            return;
        }
        var sign = tag + 2 < source.Length && source[tag + 2] is '-' or '+' ? source[tag + 2] : '\0';
        AddText(BeforeTag(source[start..tag], sign, isOutput: source[tag + 1] == '{'));
        at = tag + (sign == '\0' ? 2 : 3);
        lineStarting = false;
        switch (source[tag + 1])
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
        for (var i = source.IndexOf('{', from); i >= 0 && i + 1 < source.Length; i = source.IndexOf('{', i + 1))
            if (source[i + 1] is '{' or '%' or '#') return i;
        return -1;
    }

    /// <summary>What is left of the text before a tag.</summary>
    private string BeforeTag(string text, char sign, bool isOutput)
    {
        if (sign == '-') return text.TrimEnd(PythonText.WhiteSpace);
        if (sign == '+' || isOutput) return text;
        var lineStart = text.LastIndexOf('\n') + 1;
        if (lineStart == 0 && !lineStarting) return text;
        return text.AsSpan(lineStart).Trim(PythonText.WhiteSpace).IsEmpty ? text[..lineStart] : text;
    }

    private void Comment()
    {
        var end = source.IndexOf("#}", at, StringComparison.Ordinal);
        if (end < 0) throw Error("a comment is never closed by #}");
        var sign = end > at ? source[end - 1] : '\0';
        at = end + 2;
        AfterBlock(sign);
    }

    /// <summary>What a block tag or comment takes with it behind its end.</summary>
    private void AfterBlock(char sign)
    {
        if (sign == '-') SkipWhiteSpace();
        else if (sign != '+' && at < source.Length && source[at] == '\n') at++;
        lineStarting = source[at - 1] == '\n';
    }

    /// <summary>Reads <c>raw ... endraw</c>, if that is what the block just begun holds.</summary>
    private bool TryRaw()
    {
        var (bodyStart, sign) = KeywordTag(at, "raw");
        if (bodyStart < 0) return false;
        at = bodyStart;
        if (sign == '-') SkipWhiteSpace();
        var start = at;
        for (var tag = source.IndexOf("{%", at, StringComparison.Ordinal); tag >= 0; tag = source.IndexOf("{%", tag + 1, StringComparison.Ordinal))
        {
            var openSign = tag + 2 < source.Length && source[tag + 2] is '-' or '+' ? source[tag + 2] : '\0';
            var (end, closeSign) = KeywordTag(tag + (openSign == '\0' ? 2 : 3), "endraw");
            if (end < 0) continue;
            lineStarting = false;
            AddText(BeforeTag(source[start..tag], openSign, isOutput: false));
            at = end;
            AfterBlock(closeSign);
            return true;
        }
        throw Error("a raw block is never closed by endraw");
    }

    /// <summary>Where a block tag ends that holds only a keyword (-1: it holds something else), and the sign before its end.</summary>
    private (int End, char Sign) KeywordTag(int from, string keyword)
    {
        var i = from;
        while (i < source.Length && PythonText.IsSpace(source[i])) i++;
        if (!source.AsSpan(i).StartsWith(keyword)) return (-1, '\0');
        i += keyword.Length;
        while (i < source.Length && PythonText.IsSpace(source[i])) i++;
        var sign = i < source.Length && source[i] is '-' or '+' ? source[i++] : '\0';
        return source.AsSpan(i).StartsWith("%}") ? (i + 2, sign) : (-1, '\0');
    }

    private void InsideTag(TokenKind endKind, string end)
    {
        var open = new Stack<char>();
        while (true)
        {
            SkipWhiteSpace();
            if (at >= source.Length) throw Error($"a tag is never closed by {end}");
            var signed = source[at] == '-' || (source[at] == '+' && endKind == TokenKind.BlockEnd);
            if (open.Count == 0 && source.AsSpan(at + (signed ? 1 : 0)).StartsWith(end))
            {
                var sign = signed ? source[at] : '\0';
                Add(endKind, end);
                at += end.Length + (signed ? 1 : 0);
                if (endKind == TokenKind.BlockEnd) AfterBlock(sign);
                else if (signed) SkipWhiteSpace();
                lineStarting = source[at - 1] == '\n';
                return;
            }
            var character = source[at];
            if (character is '\'' or '"') StringLiteral(character);
            else if (char.IsAsciiDigit(character)) Number();
            else if (character == '_' || char.IsLetter(character)) Name();
            else Operator(open);
        }
    }

    private void Operator(Stack<char> open)
    {
        var found = Array.Find(Operators, candidate => source.AsSpan(at).StartsWith(candidate)) ?? throw Error($"the character {source[at]} is not part of the template language");
        if (found is "(" or "[" or "{") open.Push(found[0]);
        if (found is ")" or "]" or "}")
        {
            var expected = found switch { ")" => '(', "]" => '[', _ => '{' };
            if (!open.TryPop(out var opened) || opened != expected) throw Error($"an unexpected {found}");
        }
        Add(TokenKind.Operator, found);
        at += found.Length;
    }

    private void Name()
    {
        var start = at;
        while (at < source.Length && (source[at] == '_' || char.IsLetterOrDigit(source[at]))) at++;
        Add(TokenKind.Name, source[start..at]);
    }

    private void Number()
    {
        var start = at;
        // In messages.0.role the 0 is an index, not the beginning of a number with a point.
        var mayHavePoint = start == 0 || source[start - 1] != '.';
        var kind = TokenKind.Integer;
        SkipDigits();
        if (mayHavePoint && at + 1 < source.Length && source[at] == '.' && char.IsAsciiDigit(source[at + 1]))
        {
            kind = TokenKind.Float;
            at++;
            SkipDigits();
        }
        if (mayHavePoint && at < source.Length && source[at] is 'e' or 'E')
        {
            var digits = at + 1 < source.Length && source[at + 1] is '+' or '-' ? at + 2 : at + 1;
            if (digits >= source.Length || !char.IsAsciiDigit(source[digits])) throw Error("a number with a broken exponent");
            kind = TokenKind.Float;
            at = digits;
            SkipDigits();
        }
        var text = source[start..at];
        if (kind == TokenKind.Integer && text.Length > 1 && text[0] == '0') throw Error($"the number {text} with a leading zero");
        Add(kind, text);
    }

    private void SkipDigits()
    {
        while (at < source.Length && char.IsAsciiDigit(source[at])) at++;
    }

    private void StringLiteral(char quote)
    {
        var value = new StringBuilder();
        var i = at + 1;
        while (true)
        {
            if (i >= source.Length) throw Error("a string is never closed");
            var character = source[i++];
            if (character == quote) break;
            if (character == '\\' && i < source.Length) Escape(value, ref i);
            else value.Append(character);
        }
        Add(TokenKind.String, value.ToString());
        at = i;
    }

    /// <summary>One escape of a Python string literal; an unknown one keeps its backslash.</summary>
    private void Escape(StringBuilder value, ref int i)
    {
        var character = source[i++];
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
        if (i + digits > source.Length || !int.TryParse(source.AsSpan(i, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var codePoint) || !Rune.IsValid(codePoint))
            throw Error("a broken or unpaired character escape in a string");
        value.Append(new Rune(codePoint).ToString());
        i += digits;
    }

    private void SkipWhiteSpace()
    {
        while (at < source.Length && PythonText.IsSpace(source[at])) at++;
    }

    private void AddText(string text)
    {
        if (text.Length > 0) Add(TokenKind.Text, text);
    }

    private void Add(TokenKind kind, string text) => tokens.Add(new Token(kind, text, CurrentLine()));

    private int CurrentLine()
    {
        for (; lineCountedTo < Math.Min(at, source.Length); lineCountedTo++)
            if (source[lineCountedTo] == '\n') line++;
        return line;
    }

    private TemplateException Error(string message) => new(message, CurrentLine());
}
