// What an engine did, moment by moment, as a trace file for Perfetto (ui.perfetto.dev) or chrome://tracing:
//
//   engine    turn [ prefill | copy | decode step | copy ... ]     one turn of the scheduler; what no child covers is scheduling
//   swap      load | probe | switch | load prepacked | ...         beside it, while the engine decodes on
//   counters  busy slots
//
// An engine without a trace pays for one comparison with null per run; with one, a run adds a struct to a list.
using System.Runtime.InteropServices;
using System.Text.Json;
using Sapo.Core;

namespace Sapo.Rollout;

/// <summary>Collects the events of one or several engines; give it to <see cref="RolloutEngine"/> at its start. All members may be called from any thread.</summary>
/// <param name="time">The clock; an engine's own is the system's.</param>
public sealed class EngineTrace(TimeProvider time)
{
    /// <summary>Events kept: about 100 MB in the file. What comes later is left out and counted.</summary>
    public const int MaxEvents = 1_000_000;

    private const int ProcessId = 1;

    private readonly long _start = time.GetTimestamp();
    private readonly Lock _gate = new();
    private readonly List<Event> _events = [];
    private readonly List<string> _threads = [];

    /// <summary>A trace for a file that a command line names.</summary>
    /// <param name="path">The file, or null for no trace.</param>
    /// <param name="time">The clock.</param>
    /// <returns>A trace, still empty; null where none is wanted.</returns>
    /// <exception cref="UserErrorException">The file cannot be written: better found out now than at the end.</exception>
    public static EngineTrace? To(string? path, TimeProvider time)
    {
        if (path is null) return null;
        var trace = new EngineTrace(time);
        trace.Save(path);
        return trace;
    }

    /// <summary>Events that were left out because there were too many.</summary>
    public long Dropped { get; private set; }

    /// <summary>The present moment, to be given to <c>Add</c> later.</summary>
    public long Now => time.GetTimestamp();

    /// <summary>Adds something that ended now.</summary>
    /// <param name="thread">The row it is shown in.</param>
    /// <param name="name">What it was.</param>
    /// <param name="start">When it began: <see cref="Now"/> at that time.</param>
    /// <param name="argument">Name of a number that belongs to it, such as rows or tokens; null for none.</param>
    /// <param name="value">The number.</param>
    public void Add(string thread, string name, long start, string? argument = null, double value = 0) =>
        Keep(new Event(thread, name, start, time.GetTimestamp(), argument, value));

    /// <summary>Adds a number that changes over time.</summary>
    /// <param name="name">What it counts.</param>
    /// <param name="value">What it is from now on.</param>
    public void Count(string name, double value)
    {
        var now = time.GetTimestamp();
        Keep(new Event(Thread: null, name, now, now, name, value));
    }

    /// <summary>Writes the trace as JSON in Chrome's trace event format.</summary>
    /// <param name="path">The file; replaced if it exists.</param>
    /// <exception cref="UserErrorException">The file cannot be written.</exception>
    public void Save(string path)
    {
        try
        {
            if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder) Directory.CreateDirectory(folder);
            AtomicFile.Write(path, Write);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"{path} cannot be written: {failure.Message}", "a file in a folder with some room", "Name another file with --trace", failure);
        }
    }

    /// <summary>Writes the trace as JSON in Chrome's trace event format.</summary>
    /// <param name="stream">Where to; stays open.</param>
    /// <returns>The number of events.</returns>
    public int Write(Stream stream)
    {
        using var json = new Utf8JsonWriter(stream);
        lock (_gate)
        {
            json.WriteStartObject();
            json.WriteString("displayTimeUnit", "ms");
            json.WriteNumber("droppedEvents", Dropped);
            json.WriteStartArray("traceEvents");
            for (var index = 0; index < _threads.Count; index++) WriteThreadName(json, index + 1, _threads[index]);
            foreach (ref readonly var item in CollectionsMarshal.AsSpan(_events)) WriteEvent(json, in item);
            json.WriteEndArray();
            json.WriteEndObject();
            return _events.Count;
        }
    }

    private void Keep(in Event item)
    {
        lock (_gate)
        {
            if (item.Thread is not null && !_threads.Contains(item.Thread)) _threads.Add(item.Thread);
            if (_events.Count < MaxEvents) _events.Add(item);
            else Dropped++;
        }
    }

    private static void WriteThreadName(Utf8JsonWriter json, int id, string name)
    {
        json.WriteStartObject();
        json.WriteString("ph", "M");
        json.WriteString("name", "thread_name");
        json.WriteNumber("pid", ProcessId);
        json.WriteNumber("tid", id);
        json.WriteStartObject("args");
        json.WriteString("name", name);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private void WriteEvent(Utf8JsonWriter json, in Event item)
    {
        json.WriteStartObject();
        json.WriteString("ph", item.Thread is null ? "C" : "X");
        json.WriteString("name", item.Name);
        json.WriteString("cat", "engine");
        json.WriteNumber("pid", ProcessId);
        json.WriteNumber("ts", Microseconds(_start, item.Start));
        if (item.Thread is not null)
        {
            json.WriteNumber("tid", 1 + _threads.IndexOf(item.Thread));
            json.WriteNumber("dur", Microseconds(item.Start, item.End));
        }
        if (item.Argument is not null)
        {
            json.WriteStartObject("args");
            json.WriteNumber(item.Argument, item.Value);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }

    private double Microseconds(long from, long to) => time.GetElapsedTime(from, to).TotalMicroseconds;

    private readonly record struct Event(string? Thread, string Name, long Start, long End, string? Argument, double Value);
}
