// Ids -> text, one id at a time. Bytes that may still become a character wait in `tail` (at most 3 of them).
//   byte-level: a malformed sequence becomes U+FFFD as soon as it is known to be malformed
//   byte fallback: a run of bytes that turns out malformed is rewritten as one U+FFFD per byte
using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace Sapo.Rollout.Tokenization;

/// <summary>Puts the text of a sequence of ids together. For one thread.</summary>
internal sealed class TextAssembler(TokenDecoder decoder)
{
    private const char Replacement = '\uFFFD';

    private readonly StringBuilder text = new();
    private readonly List<byte> tail = new(4);
    private int spacesToDrop = decoder.LeadingSpaces;
    private int runStart;
    private int runBytes;
    private bool runIsMalformed;

    /// <summary>Whether what is there could still change, or is a replacement character that the next bytes may explain.</summary>
    public bool IsUncertain => tail.Count > 0 || (runIsMalformed && runBytes > 0) || (text.Length > 0 && text[^1] == Replacement);

    /// <summary>Adds one id of the vocabulary.</summary>
    public void Append(int id)
    {
        var bytes = decoder.Bytes(id);
        if (decoder.IsByteLevel)
        {
            AppendBytes(bytes);
        }
        else if (decoder.IsRaw(id))
        {
            if (runBytes == 0) runStart = text.Length;
            runBytes += bytes.Length;
            AppendBytes(bytes);
        }
        else
        {
            EndRun();
            text.Append(Encoding.UTF8.GetString(bytes));
        }
    }

    /// <summary>Everything so far; bytes that wait for others become U+FFFD.</summary>
    public string TakeAll()
    {
        EndRun();
        if (tail.Count > 0) text.Append(Replacement);
        tail.Clear();
        return Take();
    }

    /// <summary>Everything so far if it cannot change any more, else nothing.</summary>
    public string TakeCertain()
    {
        if (IsUncertain) return "";
        runBytes = 0;
        return Take();
    }

    private string Take()
    {
        var drop = 0;
        while (spacesToDrop > 0 && drop < text.Length)
        {
            if (text[drop] != ' ')
            {
                spacesToDrop = 0;
                break;
            }
            drop++;
            spacesToDrop--;
        }
        var taken = text.ToString(drop, text.Length - drop);
        text.Clear();
        return taken;
    }

    /// <summary>Byte fallback only: settles the run of bytes that ends here.</summary>
    private void EndRun()
    {
        if (runBytes > 0 && (runIsMalformed || tail.Count > 0))
        {
            text.Length = runStart;
            text.Append(Replacement, runBytes);
            tail.Clear();
        }
        runBytes = 0;
        runIsMalformed = false;
    }

    /// <summary>Turns the waiting bytes and these into characters as far as they allow; the rest waits.</summary>
    private void AppendBytes(ReadOnlySpan<byte> bytes)
    {
        Span<byte> waiting = tail.Count + bytes.Length <= 256 ? stackalloc byte[tail.Count + bytes.Length] : new byte[tail.Count + bytes.Length];
        CollectionsMarshal.AsSpan(tail).CopyTo(waiting);
        bytes.CopyTo(waiting[tail.Count..]);
        tail.Clear();
        Span<char> characters = stackalloc char[2];
        while (waiting.Length > 0)
        {
            var status = Rune.DecodeFromUtf8(waiting, out var rune, out var used);
            if (status == OperationStatus.NeedMoreData) break;
            if (status == OperationStatus.InvalidData) runIsMalformed = true;
            text.Append(characters[..rune.EncodeToUtf16(characters)]);
            waiting = waiting[used..];
        }
        tail.AddRange(waiting);
    }
}
