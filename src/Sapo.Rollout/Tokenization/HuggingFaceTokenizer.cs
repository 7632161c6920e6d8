// Text <-> ids as tokenizer.json of a Hugging Face folder defines them, without any native code.
//
//   encode: text -> added tokens cut out -> normalizer -> pre-tokenizer -> BPE per word -> post-processor -> ids
//   decode: ids -> bytes or text per id (TokenDecoder) -> characters, malformed bytes as U+FFFD (TextAssembler)
//
// Whatever a file asks for and this code does not do is refused by name when the file is loaded. The members truncation
// and padding are no part of the encoding and are left to the caller, as transformers does.
using System.Text;
using Sapo.Core;

namespace Sapo.Rollout.Tokenization;

/// <summary>The tokenizer of a Hugging Face folder. Immutable; safe for use by many threads.</summary>
public sealed class HuggingFaceTokenizer
{
    private readonly string file;
    private readonly BytePairEncoding model;
    private readonly TextNormalizer normalizer;
    private readonly PreTokenizer preTokenizer;
    private readonly PostProcessor postProcessor;
    private readonly TokenDecoder decoder;
    private readonly AddedTokenMatcher rawMatcher;
    private readonly AddedTokenMatcher normalizedMatcher;
    private readonly Dictionary<string, int> idOfToken;
    private readonly Dictionary<int, string> tokenOfId;
    private readonly HashSet<int> specialIds;

    private HuggingFaceTokenizer(JsonValue root, string folder)
    {
        file = root.File;
        model = BytePairEncoding.Read(root.Member("model"));
        normalizer = TextNormalizer.Read(root.Find("normalizer"));
        preTokenizer = PreTokenizer.Read(root.Find("pre_tokenizer"));
        AddedToken[] added = [.. (root.Find("added_tokens")?.Items() ?? []).Select(AddedToken.Read)];
        idOfToken = new Dictionary<string, int>(model.Vocabulary, StringComparer.Ordinal);
        foreach (var token in added) idOfToken[token.Content] = token.Id;
        tokenOfId = [];
        foreach (var (token, id) in model.Vocabulary) tokenOfId[id] = token;
        foreach (var token in added) tokenOfId[token.Id] = token.Content;
        specialIds = [.. added.Where(token => token.Special).Select(token => token.Id)];
        rawMatcher = new AddedTokenMatcher(added.Where(token => !token.Normalized).Select(token => (token, token.Content)));
        normalizedMatcher = new AddedTokenMatcher(added.Where(token => token.Normalized).Select(token => (token, normalizer.Normalize(token.Content))));
        decoder = TokenDecoder.Read(root, tokenOfId);
        postProcessor = PostProcessor.Read(root.Find("post_processor"), decoder.Knows);
        NamedTokens = NamedTokens.Read(folder, TokenId, decoder.Knows);
    }

    /// <summary>Tokens with a role, from tokenizer_config.json, special_tokens_map.json and generation_config.json.</summary>
    public NamedTokens NamedTokens { get; }

    /// <summary>Largest id + 1. A model's embedding may have more rows.</summary>
    public int VocabularySize => decoder.Size;

    /// <summary>Loads a folder's tokenizer.json, and the token roles from the files beside it as far as they are there.</summary>
    /// <param name="folder">A Hugging Face model folder.</param>
    /// <exception cref="UserErrorException">A file is missing or broken, or asks for something that is not supported.</exception>
    public static HuggingFaceTokenizer Load(string folder)
    {
        var path = Path.Combine(folder, "tokenizer.json");
        if (!File.Exists(path)) throw new UserErrorException($"{path} does not exist", "the tokenizer.json of a Hugging Face model folder", "Check the model's path");
        return JsonValue.Read(path, root => new HuggingFaceTokenizer(root, folder));
    }

    /// <summary>The ids of a text, special tokens in it read as such; a text with characters outside the vocabulary is refused.</summary>
    /// <param name="text">Any text. A lone surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether to add what the file's post-processor adds, such as a begin token.</param>
    /// <exception cref="UserErrorException">The vocabulary cannot spell a character of the text.</exception>
    public int[] Encode(string text, bool addSpecialTokens) => Encode(text, new EncodingOptions { AddSpecialTokens = addSpecialTokens });

    /// <summary>The ids of a text.</summary>
    /// <param name="text">Any text. A lone surrogate counts as U+FFFD.</param>
    /// <param name="options">What to add, what to read as special tokens, what to do with characters outside the vocabulary.</param>
    /// <exception cref="UserErrorException">The vocabulary cannot spell a character of the text and <see cref="EncodingOptions.DropUnknownCharacters"/> is off.</exception>
    public int[] Encode(string text, EncodingOptions options)
    {
        var ids = new List<int>();
        if (options.AddSpecialTokens) ids.AddRange(postProcessor.Before);
        var raw = new List<TextOrToken>();
        rawMatcher.Split(new TextOrToken(WithoutLoneSurrogates(text), null, StartsInput: true), options.ParseSpecialTokens, raw);
        var parts = new List<TextOrToken>();
        foreach (var part in raw)
        {
            if (part.TokenId is null) normalizedMatcher.Split(part with { Text = normalizer.Normalize(part.Text) }, options.ParseSpecialTokens, parts);
            else parts.Add(part);
        }
        var words = new List<TextPiece>();
        foreach (var part in parts)
        {
            if (part.TokenId is { } id) ids.Add(id);
            else EncodeText(part, words, options.DropUnknownCharacters, ids);
        }
        if (options.AddSpecialTokens) ids.AddRange(postProcessor.Behind);
        return [.. ids];
    }

    /// <summary>
    /// The text of ids. In a byte-level vocabulary every maximal malformed byte sequence becomes one U+FFFD; in one with
    /// byte fallback a run of byte tokens that is malformed as a whole becomes one U+FFFD per byte.
    /// </summary>
    /// <param name="ids">Ids of the vocabulary.</param>
    /// <param name="skipSpecialTokens">Leaves special tokens out. Tokens that are added but not special (such as <c>&lt;/think&gt;</c>) stay.</param>
    /// <exception cref="UserErrorException">An id is not in the vocabulary.</exception>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens)
    {
        var assembler = new TextAssembler(decoder);
        foreach (var id in ids)
        {
            CheckId(id);
            if (!skipSpecialTokens || !IsSpecial(id)) assembler.Append(id);
        }
        return assembler.TakeAll();
    }

    /// <summary>A decoder for ids that arrive one by one.</summary>
    /// <param name="skipSpecialTokens">Leaves special tokens out.</param>
    public StreamingDecoder CreateStreamingDecoder(bool skipSpecialTokens) => new(this, decoder, skipSpecialTokens);

    /// <summary>The id of a token by its exact spelling in the file, or null.</summary>
    public int? TokenId(string token) => idOfToken.TryGetValue(token, out var id) ? id : null;

    /// <summary>A token's spelling in the file, or null for an id outside the vocabulary.</summary>
    public string? TokenText(int id) => tokenOfId.GetValueOrDefault(id);

    /// <summary>The bytes that a token adds to the text; not necessarily valid UTF-8 by themselves.</summary>
    /// <exception cref="UserErrorException">The id is not in the vocabulary.</exception>
    public ReadOnlySpan<byte> TokenBytes(int id)
    {
        CheckId(id);
        return decoder.Bytes(id);
    }

    /// <summary>Whether an id is a special token, which decoding can skip.</summary>
    public bool IsSpecial(int id) => specialIds.Contains(id);

    /// <summary>Refuses an id outside the vocabulary.</summary>
    internal void CheckId(int id)
    {
        if (!decoder.Knows(id))
            throw new UserErrorException($"{file}: {id} is no token id of this tokenizer", $"an id of its vocabulary (0 to {VocabularySize - 1})", "Use the tokenizer that belongs to the model");
    }

    private void EncodeText(TextOrToken part, List<TextPiece> words, bool dropUnknown, List<int> ids)
    {
        words.Clear();
        preTokenizer.Split(new TextPiece(part.Text, part.StartsInput), words);
        foreach (var word in words)
        {
            if (model.Encode(word.Text, ids) is { } leftOut && !dropUnknown)
                throw new UserErrorException($"{file}: the text holds {Describe(leftOut)}, for which the vocabulary has no token", null, "Leave it out of the text");
        }
    }

    private string Describe(Rune leftOut)
    {
        if (!decoder.IsByteLevel || !leftOut.IsBmp || ByteLevelAlphabet.Byte((char)leftOut.Value) is not { } value) return $"'{leftOut}' (U+{leftOut.Value:X4})";
        return value is > 0x20 and < 0x7F ? $"'{(char)value}'" : $"the byte 0x{value:X2}";
    }

    private static string WithoutLoneSurrogates(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) return text;
        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes()) result.Append(rune.ToString());
        return result.ToString();
    }
}
