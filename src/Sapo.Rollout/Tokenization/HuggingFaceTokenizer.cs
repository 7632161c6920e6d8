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
    private readonly string _file;
    private readonly BytePairEncoding _model;
    private readonly TextNormalizer _normalizer;
    private readonly PreTokenizer _preTokenizer;
    private readonly PostProcessor _postProcessor;
    private readonly TokenDecoder _decoder;
    private readonly AddedTokenMatcher _rawMatcher;
    private readonly AddedTokenMatcher _normalizedMatcher;
    private readonly Dictionary<string, int> _idOfToken;
    private readonly Dictionary<int, string> _tokenOfId;
    private readonly HashSet<int> _specialIds;

    private HuggingFaceTokenizer(JsonValue root, string folder)
    {
        _file = root.File;
        _model = BytePairEncoding.Read(root.Member("model"));
        _normalizer = TextNormalizer.Read(root.Find("normalizer"));
        _preTokenizer = PreTokenizer.Read(root.Find("pre_tokenizer"));
        AddedToken[] added = [.. (root.Find("added_tokens")?.Items() ?? []).Select(AddedToken.Read)];
        _idOfToken = new Dictionary<string, int>(_model.Vocabulary, StringComparer.Ordinal);
        foreach (var token in added) _idOfToken[token.Content] = token.Id;
        _tokenOfId = [];
        foreach (var (token, id) in _model.Vocabulary) _tokenOfId[id] = token;
        foreach (var token in added) _tokenOfId[token.Id] = token.Content;
        _specialIds = [.. added.Where(token => token.Special).Select(token => token.Id)];
        _rawMatcher = new AddedTokenMatcher(added.Where(token => !token.Normalized).Select(token => (token, token.Content)));
        _normalizedMatcher = new AddedTokenMatcher(added.Where(token => token.Normalized).Select(token => (token, _normalizer.Normalize(token.Content))));
        _decoder = TokenDecoder.Read(root, _tokenOfId);
        _postProcessor = PostProcessor.Read(root.Find("post_processor"), _decoder.Knows);
        NamedTokens = NamedTokens.Read(folder, TokenId, _decoder.Knows);
    }

    /// <summary>Tokens with a role, from tokenizer_config.json, special_tokens_map.json and generation_config.json.</summary>
    public NamedTokens NamedTokens { get; }

    /// <summary>Largest id + 1. A model's embedding may have more rows.</summary>
    public int VocabularySize => _decoder.Size;

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
        if (options.AddSpecialTokens) ids.AddRange(_postProcessor.Before);
        var raw = new List<TextOrToken>();
        _rawMatcher.Split(new TextOrToken(WithoutLoneSurrogates(text), null, StartsInput: true), options.ParseSpecialTokens, raw);
        var parts = new List<TextOrToken>();
        foreach (var part in raw)
        {
            if (part.TokenId is null) _normalizedMatcher.Split(part with { Text = _normalizer.Normalize(part.Text) }, options.ParseSpecialTokens, parts);
            else parts.Add(part);
        }
        var words = new List<TextPiece>();
        foreach (var part in parts)
        {
            if (part.TokenId is { } id) ids.Add(id);
            else EncodeText(part, words, options.DropUnknownCharacters, ids);
        }
        if (options.AddSpecialTokens) ids.AddRange(_postProcessor.Behind);
        return [.. ids];
    }

    /// <summary>
    /// The text of ids. In a byte-level vocabulary every maximal malformed byte sequence becomes one U+FFFD; in one with
    /// byte fallback a run of byte tokens that is malformed as a whole becomes one U+FFFD per byte. An id outside the vocabulary (models
    /// often have more rows than their tokenizer has tokens, and may sample them) becomes one U+FFFD.
    /// </summary>
    /// <param name="ids">Any ids.</param>
    /// <param name="skipSpecialTokens">Leaves special tokens out. Tokens that are added but not special (such as <c>&lt;/think&gt;</c>) stay.</param>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens)
    {
        var assembler = new TextAssembler(_decoder);
        foreach (var id in ids)
        {
            if (!skipSpecialTokens || !IsSpecial(id)) assembler.Append(id);
        }
        return assembler.TakeAll();
    }

    /// <summary>A decoder for ids that arrive one by one.</summary>
    /// <param name="skipSpecialTokens">Leaves special tokens out.</param>
    public StreamingDecoder CreateStreamingDecoder(bool skipSpecialTokens) => new(this, _decoder, skipSpecialTokens);

    /// <summary>The id of a token by its exact spelling in the file, or null.</summary>
    public int? TokenId(string token) => _idOfToken.TryGetValue(token, out var id) ? id : null;

    /// <summary>A token's spelling in the file, or null for an id outside the vocabulary.</summary>
    public string? TokenText(int id) => _tokenOfId.GetValueOrDefault(id);

    /// <summary>The bytes that a token adds to the text; not necessarily valid UTF-8 by themselves.</summary>
    /// <exception cref="UserErrorException">The id is not in the vocabulary.</exception>
    public ReadOnlySpan<byte> TokenBytes(int id)
    {
        if (!_decoder.Knows(id))
            throw new UserErrorException($"{_file}: {id} is no token id of this tokenizer", $"an id of its vocabulary (0 to {VocabularySize - 1})", "Use the tokenizer that belongs to the model");
        return _decoder.Bytes(id);
    }

    /// <summary>Whether an id is a special token, which decoding can skip.</summary>
    public bool IsSpecial(int id) => _specialIds.Contains(id);

    private void EncodeText(TextOrToken part, List<TextPiece> words, bool dropUnknown, List<int> ids)
    {
        words.Clear();
        _preTokenizer.Split(new TextPiece(part.Text, part.StartsInput), words);
        foreach (var word in words)
        {
            if (_model.Encode(word.Text, ids) is { } leftOut && !dropUnknown)
                throw new UserErrorException($"{_file}: the text holds {Describe(leftOut)}, for which the vocabulary has no token", null, "Leave it out of the text");
        }
    }

    private string Describe(Rune leftOut)
    {
        if (!_decoder.IsByteLevel || !leftOut.IsBmp || ByteLevelAlphabet.Byte((char)leftOut.Value) is not { } value) return $"'{leftOut}' (U+{leftOut.Value:X4})";
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
