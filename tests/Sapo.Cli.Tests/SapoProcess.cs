using System.Diagnostics;
using System.Text;

namespace Sapo.Cli.Tests;

/// <summary>The sapo command as a process of its own, as users run it.</summary>
internal sealed class SapoProcess : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5); // a hung command fails the test instead of blocking the run

    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly StringBuilder _errors = new();

    private SapoProcess(Process process)
    {
        _process = process;
        process.OutputDataReceived += (_, line) => Append(_output, line.Data);
        process.ErrorDataReceived += (_, line) => Append(_errors, line.Data);
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public string Output => Read(_output);

    public string Errors => Read(_errors);

    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    public static SapoProcess Start(string folder, params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "sapo.dll"), .. arguments])
        {
            RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false, WorkingDirectory = folder,
        };
        return new SapoProcess(new Process { StartInfo = start });
    }

    /// <summary>Runs a command to its end.</summary>
    public static (int ExitCode, string Output, string Errors) Run(string folder, params string[] arguments)
    {
        using var sapo = Start(folder, arguments);
        return (sapo.WaitForExit(), sapo.Output, sapo.Errors);
    }

    public int WaitForExit()
    {
        if (!_process.WaitForExit(Patience))
        {
            _process.Kill(entireProcessTree: true);
            throw new TimeoutException($"The command did not end.\n{Output}\n{Errors}");
        }
        _process.WaitForExit(); // until both outputs are read to their ends
        return _process.ExitCode;
    }

    /// <summary>Waits until something holds; fails if the command ends before it does.</summary>
    public async Task WaitUntilAsync(Func<bool> holds)
    {
        var started = Stopwatch.GetTimestamp();
        while (!holds())
        {
            if (_process.HasExited) throw new InvalidOperationException($"The command ended with {_process.ExitCode}.\n{Output}\n{Errors}");
            if (Stopwatch.GetElapsedTime(started) > Patience) throw new TimeoutException($"It never came to that.\n{Output}\n{Errors}");
            await Task.Delay(5);
        }
    }

    /// <summary>kill -9.</summary>
    public void Kill() => _process.Kill();

    /// <summary>What Ctrl-C sends.</summary>
    public void Interrupt()
    {
        using var kill = Process.Start("kill", ["-INT", _process.Id.ToString()]);
        kill.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited) _process.Kill(entireProcessTree: true);
        _process.Dispose();
    }

    private static void Append(StringBuilder text, string? line)
    {
        if (line is null) return;
        lock (text) text.AppendLine(line);
    }

    private static string Read(StringBuilder text)
    {
        lock (text) return text.ToString();
    }
}
