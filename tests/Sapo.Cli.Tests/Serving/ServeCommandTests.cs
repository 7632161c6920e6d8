using System.Net.Sockets;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;

namespace Sapo.Cli.Tests.Serving;

public sealed partial class ServeCommandTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("sapo-serve-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task Serve_FromStartToInterrupt_AnswersAndEndsWith0()
    {
        TinyChatModel.Create(Path.Combine(_folder.FullName, "tiny"));
        using var sapo = SapoProcess.Start(_folder.FullName, "serve", "--model", "tiny", "--port", "0", "--slots", "2", "--threads", "1", "--max-sequence-length", "64");
        await sapo.WaitUntilAsync(() => Listening().IsMatch(sapo.Output));
        Assert.DoesNotContain("warning", sapo.Errors, StringComparison.Ordinal);
        using (var client = new HttpClient())
        {
            using var request = new StringContent("""{"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}""", Encoding.UTF8, "application/json");
            using var response = await client.PostAsync(Listening().Match(sapo.Output).Groups["base"].Value + "/chat/completions", request);
            var answer = await response.Content.ReadAsStringAsync();
            Assert.True(response.IsSuccessStatusCode, answer);
            Assert.Contains("chat.completion", answer, StringComparison.Ordinal);
        }
        sapo.Interrupt();
        Assert.Equal(0, sapo.WaitForExit());
    }

    [Theory]
    [InlineData("--host is \"example.org\"", "--host", "example.org")]
    [InlineData("--port is 70000", "--port", "70000")]
    [InlineData("does not exist", "--port", "0")]
    public void Serve_WrongArguments_IsOneLineAndExitCode2(string message, params string[] arguments)
    {
        var (code, _, errors) = SapoProcess.Run(_folder.FullName, ["serve", "--model", "none", .. arguments]);
        Assert.Equal(2, code);
        Assert.Contains(message, errors, StringComparison.Ordinal);
        Assert.Single(errors.TrimEnd().Split('\n'));
    }

    [Fact]
    public void Serve_PortInUse_IsOneMessage()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var port = ((IPEndPoint)other.LocalEndpoint).Port;
        TinyChatModel.Create(Path.Combine(_folder.FullName, "tiny"));
        var (code, _, errors) = SapoProcess.Run(_folder.FullName, "serve", "--model", "tiny", "--port", $"{port}", "--slots", "1", "--threads", "1");
        Assert.Equal(2, code);
        Assert.Contains($"port {port} cannot be listened on", errors, StringComparison.Ordinal);
    }

    [GeneratedRegex(@"^Serving tiny at (?<base>http://127\.0\.0\.1:\d+/v1) ", RegexOptions.Multiline | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Listening();
}
