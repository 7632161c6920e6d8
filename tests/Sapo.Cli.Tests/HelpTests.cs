namespace Sapo.Cli.Tests;

public sealed class HelpTests
{
    [Fact]
    public void Help_Root_NamesEveryCommand()
    {
        var (code, output, _) = SapoProcess.Run(Path.GetTempPath(), "--help");
        Assert.Equal(0, code);
        foreach (var command in (string[])["train", "rollout", "eval", "serve", "doctor", "objectives", "study"]) Assert.Contains($"  {command} ", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("train", "sapo train runs/quickstart.json")]
    [InlineData("rollout", "sapo rollout --model runs/out/quickstart/final")]
    [InlineData("eval", "sapo eval --model runs/out/quickstart/final --task addition")]
    [InlineData("serve", "sapo serve --model runs/out/quickstart/final")]
    [InlineData("study", "sapo study runs/study")]
    public void Help_Command_HasAnExample(string command, string example)
    {
        var (code, output, _) = SapoProcess.Run(Path.GetTempPath(), command, "--help");
        Assert.Equal(0, code);
        Assert.Contains(example, output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("there is no command trian; the nearest is train", "trian")]
    [InlineData("there is no option --steeps; the nearest is --steps", "train", "runs/quickstart.json", "--steeps", "3")]
    [InlineData("there is no command plott; the nearest is plot. See ./sapo objectives --help", "objectives", "plott")]
    [InlineData("there is no option --name; the nearest is --names. See ./sapo objectives plot --help", "objectives", "plot", "--name", "sapo")]
    [InlineData("Required argument missing", "train")]
    [InlineData("many", "rollout", "--model", "m", "--prompts", "p", "--out", "o", "--n", "many")]
    public void CommandLine_Wrong_IsOneLineAndExitCode2(string message, params string[] arguments)
    {
        var (code, output, errors) = SapoProcess.Run(Path.GetTempPath(), arguments);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains(message, errors, StringComparison.Ordinal);
        Assert.Single(errors.TrimEnd().Split('\n'));
    }

    [Fact]
    public void Objectives_List_NamesSapoFirstWithItsPaper()
    {
        var (code, output, _) = SapoProcess.Run(Path.GetTempPath(), "objectives");
        Assert.Equal(0, code);
        Assert.StartsWith("sapo", output, StringComparison.Ordinal);
        Assert.Contains("2511.20347", output, StringComparison.Ordinal);
        Assert.Contains("grpo", output, StringComparison.Ordinal);
    }
}
