namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>A position in a list of tokens.</summary>
internal sealed class TokenReader(List<Token> tokens)
{
    private int _at;

    /// <summary>The token that comes next.</summary>
    public Token Current => tokens[_at];

    /// <summary>The token after the next; the end stays the end.</summary>
    public Token Following => tokens[Math.Min(_at + 1, tokens.Count - 1)];

    /// <summary>Takes the next token.</summary>
    public Token Take() => tokens[_at < tokens.Count - 1 ? _at++ : _at];

    /// <summary>Whether an operator comes next.</summary>
    public bool IsOperator(string text) => Current.Kind == TokenKind.Operator && Current.Text == text;

    /// <summary>Whether a name or keyword comes next.</summary>
    public bool IsName(string text) => Current.Kind == TokenKind.Name && Current.Text == text;

    /// <summary>Takes an operator if it comes next.</summary>
    public bool TakeOperator(string text)
    {
        if (!IsOperator(text)) return false;
        Take();
        return true;
    }

    /// <summary>Takes a name or keyword if it comes next.</summary>
    public bool TakeName(string text)
    {
        if (!IsName(text)) return false;
        Take();
        return true;
    }

    /// <summary>Takes an operator that must come next.</summary>
    public void ExpectOperator(string text)
    {
        if (!TakeOperator(text)) throw Unexpected($"'{text}'");
    }

    /// <summary>Takes a keyword that must come next.</summary>
    public void ExpectName(string text)
    {
        if (!TakeName(text)) throw Unexpected($"'{text}'");
    }

    /// <summary>Takes a token of a kind that must come next.</summary>
    public Token Expect(TokenKind kind, string what) => Current.Kind == kind ? Take() : throw Unexpected(what);

    /// <summary>An error about the token that comes next.</summary>
    public TemplateException Unexpected(string expected) =>
        new($"found {(Current.Kind == TokenKind.End ? "the end of the template" : $"'{Current.Text}'")} where {expected} was expected", Current.Line);
}
