namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>What is wrong with a template or with the values it was given. <see cref="ChatTemplate"/> turns it into a user's error with file and line.</summary>
internal sealed class TemplateException : Exception
{
    /// <param name="message">What was found.</param>
    /// <param name="line">The line of the template, from 1; 0 where the thrower does not know it.</param>
    public TemplateException(string message, int line = 0)
        : base(message) => Line = line;

    /// <summary>The line of the template, from 1; 0 if unknown.</summary>
    public int Line { get; set; }

    /// <summary>Whether the template itself refused, by <c>raise_exception</c>.</summary>
    public bool IsRefusal { get; init; }
}
