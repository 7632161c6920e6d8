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

    private readonly StringBuilder _text = new();
    private readonly List<byte> _tail = new(4);
    private int _spacesToDrop = decoder.LeadingSpaces;
    private int _runStart;
    private int _runBytes;
    private bool _runIsMalformed;
    private bool _endIsUnknownId; // whose replacement character nothing can explain

    /// <summary>Whether what is there could still change, or is a replacement character that the next bytes may explain.</summary>
    public bool IsUncertain => _tail.Count > 0 || (_runIsMalformed && _runBytes > 0) || (_text.Length > 0 && _text[^1] == Replacement && !_endIsUnknownId);

    /// <summary>Adds one id; one that the vocabulary does not have reads as U+FFFD.</summary>
    public void Append(int id)
    {
        _endIsUnknownId = !decoder.Knows(id);
        if (_endIsUnknownId)
        {
            EndRun();
            if (_tail.Count > 0) _text.Append(Replacement);
            _tail.Clear();
            _text.Append(Replacement);
            return;
        }
        var bytes = decoder.Bytes(id);
        if (decoder.IsByteLevel)
        {
            AppendBytes(bytes);
        }
        else if (decoder.IsRaw(id))
        {
            if (_runBytes == 0) _runStart = _text.Length;
            _runBytes += bytes.Length;
            AppendBytes(bytes);
        }
        else
        {
            EndRun();
            _text.Append(Encoding.UTF8.GetString(bytes));
        }
    }

    /// <summary>Everything so far; bytes that wait for others become U+FFFD.</summary>
    public string TakeAll()
    {
        EndRun();
        if (_tail.Count > 0) _text.Append(Replacement);
        _tail.Clear();
        return Take();
    }

    /// <summary>Everything so far if it cannot change any more, else nothing.</summary>
    public string TakeCertain()
    {
        if (IsUncertain) return "";
        _runBytes = 0;
        return Take();
    }

    private string Take()
    {
        var drop = 0;
        while (_spacesToDrop > 0 && drop < _text.Length)
        {
            if (_text[drop] != ' ')
            {
                _spacesToDrop = 0;
                break;
            }
            drop++;
            _spacesToDrop--;
        }
        var taken = _text.ToString(drop, _text.Length - drop);
        _text.Clear();
        return taken;
    }

    /// <summary>Byte fallback only: settles the run of bytes that ends here.</summary>
    private void EndRun()
    {
        if (_runBytes > 0 && (_runIsMalformed || _tail.Count > 0))
        {
            _text.Length = _runStart;
            _text.Append(Replacement, _runBytes);
            _tail.Clear();
        }
        _runBytes = 0;
        _runIsMalformed = false;
    }

    /// <summary>Turns the waiting bytes and these into characters as far as they allow; the rest waits.</summary>
    private void AppendBytes(ReadOnlySpan<byte> bytes)
    {
        Span<byte> waiting = _tail.Count + bytes.Length <= 256 ? stackalloc byte[_tail.Count + bytes.Length] : new byte[_tail.Count + bytes.Length];
        CollectionsMarshal.AsSpan(_tail).CopyTo(waiting);
        bytes.CopyTo(waiting[_tail.Count..]);
        _tail.Clear();
        Span<char> characters = stackalloc char[2];
        while (waiting.Length > 0)
        {
            var status = Rune.DecodeFromUtf8(waiting, out var rune, out var used);
            if (status == OperationStatus.NeedMoreData) break;
            if (status == OperationStatus.InvalidData) _runIsMalformed = true;
            _text.Append(characters[..rune.EncodeToUtf16(characters)]);
            waiting = waiting[used..];
        }
        _tail.AddRange(waiting);
    }
}
