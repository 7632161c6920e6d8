namespace Sapo.Rollout.Tokenization;

/// <summary>How a text is encoded.</summary>
public sealed record EncodingOptions
{
    /// <summary>Adds what the file's post-processor adds, such as a begin token. Off by default: chat templates write these tokens themselves.</summary>
    public bool AddSpecialTokens { get; init; }

    /// <summary>
    /// Reads the spelling of a special token inside the text as that token (the default, as Hugging Face does). Turn it
    /// off for text from outside that must not be able to end a turn or forge a role.
    /// </summary>
    public bool ParseSpecialTokens { get; init; } = true;

    /// <summary>
    /// Leaves out, as Hugging Face does, what a vocabulary without an unknown token cannot spell. Off by default: such a
    /// text is refused, since a prompt with holes is another prompt.
    /// </summary>
    public bool DropUnknownCharacters { get; init; }
}
