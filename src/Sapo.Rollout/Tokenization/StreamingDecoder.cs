namespace Sapo.Rollout.Tokenization;

/// <summary>
/// Turns ids into text as they arrive. A piece is handed out as soon as later ids cannot change it; a character cut in
/// two, and a replacement character whose neighbours may still change, are held back. Owned by one caller, for one
/// thread; <see cref="HuggingFaceTokenizer.CreateStreamingDecoder"/> makes one.
/// </summary>
/// <remarks>
/// Byte-level vocabularies: the pieces and <see cref="Flush"/> joined are exactly <see cref="HuggingFaceTokenizer.Decode"/>.
/// Byte-fallback vocabularies: the same, except where a run of byte tokens turns malformed after a part of it was handed
/// out; then only the rest becomes U+FFFD.
/// </remarks>
public sealed class StreamingDecoder
{
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly TextAssembler _assembler;

    internal StreamingDecoder(HuggingFaceTokenizer tokenizer, TokenDecoder decoder, bool skipSpecialTokens)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
        _assembler = new TextAssembler(decoder);
    }

    /// <summary>Adds one id; one outside the vocabulary reads as U+FFFD.</summary>
    /// <returns>The text that is certain now and was not before; empty when everything is held back.</returns>
    public string Append(int id)
    {
        if (_skipSpecialTokens && _tokenizer.IsSpecial(id)) return "";
        _assembler.Append(id);
        return _assembler.TakeCertain();
    }

    /// <summary>Ends the text: what was held back, incomplete characters as U+FFFD. The decoder must not be used afterwards.</summary>
    public string Flush() => _assembler.TakeAll();
}
