namespace Sapo.Testing;

/// <summary>Waits for what another task brings about; a test that waits in vain fails and says for what.</summary>
internal static class Waiting
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>Waits until a condition holds.</summary>
    public static async Task UntilAsync(Func<bool> holds, Func<string> whatFor)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!holds())
        {
            if (TimeProvider.System.GetElapsedTime(started) > Patience) Assert.Fail($"Waited {Patience.TotalSeconds:0} s for {whatFor()}.");
            await Task.Delay(1);
        }
    }
}
