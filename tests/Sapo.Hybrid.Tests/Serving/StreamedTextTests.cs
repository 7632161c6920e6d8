using System.IO.Compression;
using System.Text;
using Sapo.Hybrid.Serving;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Tests.Serving;

public sealed class StreamedTextTests : IClassFixture<StreamedTextTests.ByteLevelTokenizer>
{
    private const string Text = "Total: 3€ for 日本語, 😀👍🏽 and\n\nSTOP or STOPPED? ÿ";

    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly int[] _ids;

    public StreamedTextTests(ByteLevelTokenizer tokenizer)
    {
        _tokenizer = tokenizer.Value;
        _ids = _tokenizer.Encode(Text, addSpecialTokens: false);
        Assert.Contains(_ids, id => Encoding.UTF8.GetString(_tokenizer.TokenBytes(id)).Contains('\uFFFD', StringComparison.Ordinal)); // characters are split
    }

    [Fact]
    public void Append_SplitCharacters_NeverComeOutInPart()
    {
        var pieces = Pieces([]);
        Assert.Equal(Text, string.Concat(pieces), StringComparer.Ordinal);
        Assert.All(pieces, piece => Assert.DoesNotContain('\uFFFD', piece));
        Assert.All(pieces.Where(piece => piece.Length > 0), piece => Assert.False(char.IsHighSurrogate(piece[^1]) || char.IsLowSurrogate(piece[0])));
        Assert.True(pieces.Count(piece => piece.Length > 0) > 10); // it does stream
    }

    [Fact]
    public void Append_StopStringsAtEveryPlaceAndLength_EndTheTextExactlyThere()
    {
        for (var start = 0; start < Text.Length; start++)
            for (var length = 1; length <= Math.Min(8, Text.Length - start); length++)
            {
                var stop = Text.Substring(start, length);
                if (char.IsLowSurrogate(stop[0]) || char.IsHighSurrogate(stop[^1])) continue; // no text
                var pieces = Pieces([stop, "not in it"]);
                var expected = Text[..Text.IndexOf(stop, StringComparison.Ordinal)];
                Assert.Equal(expected, string.Concat(pieces), StringComparer.Ordinal);
            }
    }

    [Fact]
    public void Append_TwoStopStrings_TheEarlierOneCounts()
    {
        Assert.Equal("Total: 3€ for ", string.Concat(Pieces(["語", "日本語", "STOP"])), StringComparer.Ordinal);
        Assert.Equal("Total: 3€ for 日本語, 😀👍🏽 and\n\n", string.Concat(Pieces(["STOPPED?", "STOP"])), StringComparer.Ordinal);
    }

    [Fact]
    public void Append_BeginningOfAStopStringThatIsNone_ComesOutInTheEnd()
    {
        Assert.Equal(Text, string.Concat(Pieces(["STOPS", "ÿÿ"])), StringComparer.Ordinal);
    }

    [Fact]
    public void Finish_HalfACharacter_IsAReplacementCharacter()
    {
        var text = new StreamedText(_tokenizer, []);
        var half = _ids.First(id => Encoding.UTF8.GetString(_tokenizer.TokenBytes(id)).Contains('\uFFFD', StringComparison.Ordinal));
        Assert.DoesNotContain('\uFFFD', text.Append(half));
        Assert.EndsWith("\uFFFD", text.Finish(), StringComparison.Ordinal);
    }

    [Fact]
    public void Append_IdOutsideTheTokenizer_IsAReplacementCharacter()
    {
        var text = new StreamedText(_tokenizer, []);
        Assert.Equal("\uFFFD", text.Append(_tokenizer.VocabularySize + 1));
    }

    private List<string> Pieces(string[] stops)
    {
        var text = new StreamedText(_tokenizer, stops);
        List<string> pieces = [.. _ids.Select(text.Append)];
        pieces.Add(text.Finish());
        return pieces;
    }

    /// <summary>SmolLM2's tokenizer: byte-level, so that many characters are several tokens.</summary>
    public sealed class ByteLevelTokenizer
    {
        public ByteLevelTokenizer()
        {
            using var folder = new TemporaryFolder();
            using (var packed = new GZipStream(File.OpenRead(Path.Combine(Golden.RepositoryRoot(), "tests", "data", "SmolLM2-135M-Instruct", "tokenizer.json.gz")), CompressionMode.Decompress))
            using (var file = File.Create(folder.At("tokenizer.json")))
                packed.CopyTo(file);
            Value = HuggingFaceTokenizer.Load(folder.Path);
        }

        public HuggingFaceTokenizer Value { get; }
    }
}
