namespace Sapo.Hybrid.Tests;

public sealed class DeviceThreadTests
{
    [Fact]
    public async Task RunAsync_ManyItems_RunInOrderOnOneThread()
    {
        using var device = new DeviceThread("test");
        var seen = new List<(int Item, int Thread)>();
        var tasks = Enumerable.Range(0, 50).Select(item => device.RunAsync(() =>
        {
            seen.Add((item, Environment.CurrentManagedThreadId));
            return item;
        })).ToArray();
        Assert.Equal(Enumerable.Range(0, 50), await Task.WhenAll(tasks));
        Assert.Equal(Enumerable.Range(0, 50), seen.Select(entry => entry.Item));
        Assert.Single(seen.Select(entry => entry.Thread).Distinct());
    }

    [Fact]
    public async Task RunAsync_WorkThrows_TheNextItemRuns()
    {
        using var device = new DeviceThread("test");
        await Assert.ThrowsAsync<IOException>(() => device.RunAsync<int>(() => throw new IOException()));
        Assert.Equal(7, await device.RunAsync(() => 7));
    }

    [Fact]
    public async Task Dispose_OwnedResource_IsDisposedOnTheThreadAfterTheWork()
    {
        var device = new DeviceThread("test");
        var thread = await device.RunAsync(() => Environment.CurrentManagedThreadId);
        var resource = device.Own(new Resource());
        var last = device.RunAsync(() => resource.DisposedOn);
        device.Dispose();
        Assert.Null(await last);
        Assert.Equal(thread, resource.DisposedOn);
    }

    private sealed class Resource : IDisposable
    {
        public int? DisposedOn { get; private set; }

        public void Dispose() => DisposedOn = Environment.CurrentManagedThreadId;
    }
}
