using System.Text.Json;
using Sapo.Core;
using Sapo.Core.Models;

namespace Sapo.Sync.Tests.Publishing;

public sealed class PolicyPublisherTests : IDisposable
{
    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-publish-");
    private readonly string _model;

    public PolicyPublisherTests() => _model = TestModel.CreateFolder(_scratch.FullName);

    private string Policies => Path.Combine(_scratch.FullName, "policies");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    public async Task PublishAsync_Snapshot_GivesAFolderThatOpensAndVerifies()
    {
        using var publisher = NewPublisher();
        var published = await publisher.PublishAsync(TestModel.Snapshot(7), CancellationToken.None);

        Assert.Equal(FolderOf(7), published.Folder);
        var opened = PublishedPolicy.Open(published.Folder);
        opened.Verify();
        Assert.Equal(new PolicyVersion(7), opened.Version);
        Assert.Equal([1, 2], opened.Manifest.Probe.Single().TokenIds);
        Assert.Equal([0, -0.5f], opened.Manifest.Probe.Single().LogProbs);
        string[] listed = [.. opened.Manifest.Files.Select(file => file.Name).Append(PolicyManifest.FileName).Order(StringComparer.Ordinal)];
        Assert.Equal(listed, Directory.GetFiles(published.Folder).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal).ToArray());
        using var checkpoint = HuggingFaceCheckpoint.Open(published.Folder); // the folder is a Hugging Face checkpoint too
        var weight = new float[TestModel.Config.HiddenSize];
        checkpoint.CopyTo("model.norm.weight", weight);
        Assert.All(weight, value => Assert.Equal(7, value));
    }

    [Fact]
    public async Task PublishAsync_SecondVersion_SharesTheConstantFiles()
    {
        using var publisher = NewPublisher();
        await publisher.PublishAsync(TestModel.Snapshot(0), CancellationToken.None);
        var second = await publisher.PublishAsync(TestModel.Snapshot(1), CancellationToken.None);

        second.Verify();
        foreach (var file in second.Manifest.Files)
        {
            var shared = SameFile(Path.Combine(FolderOf(0), file.Name), Path.Combine(FolderOf(1), file.Name));
            Assert.Equal(file.Name != PublishedPolicy.WeightsFile, shared);
        }
    }

    [Fact]
    public async Task PublishAsync_EarlierVersionRemoved_WritesTheConstantFilesAgain()
    {
        using var publisher = NewPublisher();
        await publisher.PublishAsync(TestModel.Snapshot(0), CancellationToken.None);
        Directory.Delete(FolderOf(0), recursive: true);
        (await publisher.PublishAsync(TestModel.Snapshot(1), CancellationToken.None)).Verify();
    }

    [Fact]
    public async Task PublishAsync_VersionThatIsThere_IsReplaced()
    {
        using var publisher = NewPublisher();
        await publisher.PublishAsync(TestModel.Snapshot(1), CancellationToken.None);
        var other = TestModel.Snapshot(5) with { Version = new PolicyVersion(1) };
        var again = await publisher.PublishAsync(other, CancellationToken.None);
        again.Verify();
        AssertFolders("v000001");
        using var checkpoint = HuggingFaceCheckpoint.Open(again.Folder);
        var weight = new float[TestModel.Config.HiddenSize];
        checkpoint.CopyTo("model.norm.weight", weight);
        Assert.All(weight, value => Assert.Equal(5, value));
    }

    [Fact]
    public async Task PublishAsync_NonFiniteWeight_IsRefusedByNameAndLeavesNothing()
    {
        using var publisher = NewPublisher();
        await publisher.PublishAsync(TestModel.Snapshot(0), CancellationToken.None);
        foreach (var poison in new[] { float.NaN, float.NegativeInfinity })
        {
            var snapshot = With(TestModel.Snapshot(1), "model.layers.1.mlp.up_proj.weight", poison);
            var refusal = await Assert.ThrowsAsync<UserErrorException>(() => publisher.PublishAsync(snapshot, CancellationToken.None));
            Assert.Contains("model.layers.1.mlp.up_proj.weight", refusal.Message, StringComparison.Ordinal);
        }
        AssertFolders("v000000");
        (await publisher.PublishAsync(TestModel.Snapshot(1), CancellationToken.None)).Verify();
    }

    [Fact]
    public async Task PublishAsync_SnapshotOfAnotherModel_IsRefusedByName()
    {
        using var publisher = NewPublisher();
        var sound = TestModel.Snapshot(0);
        await Refused(sound with { Tensors = [.. sound.Tensors.Skip(1)] }, "model.embed_tokens.weight is missing");
        await Refused(sound with { Tensors = [.. sound.Tensors, TestModel.Tensor("lm_head.weight", [1], 0)] }, "lm_head.weight");
        await Refused(sound with { Tensors = [.. sound.Tensors, sound.Tensors[0]] }, "each of the");
        await Refused(sound with { Tensors = [TestModel.Tensor("model.embed_tokens.weight", [40, 17], 0), .. sound.Tensors.Skip(1)] }, "[40, 17]");
        await Refused(sound with { Tensors = [sound.Tensors[0] with { Type = WeightType.BF16 }, .. sound.Tensors.Skip(1)] }, "BF16");
        await Refused(sound with { Probe = [new ProbeSequence([1, 2], [0, float.NaN])] }, "probe");
        AssertFolders();

        async Task Refused(WeightSnapshot snapshot, string complaint)
        {
            var refusal = await Assert.ThrowsAsync<UserErrorException>(() => publisher.PublishAsync(snapshot, CancellationToken.None));
            Assert.Contains(complaint, refusal.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task PublishAsync_TensorsInAnotherOrder_IsRefused()
    {
        using var publisher = NewPublisher();
        await publisher.PublishAsync(TestModel.Snapshot(0), CancellationToken.None);
        var turned = TestModel.Snapshot(1) with { Tensors = [.. TestModel.Snapshot(1).Tensors.Reverse()] };
        var refusal = await Assert.ThrowsAsync<UserErrorException>(() => publisher.PublishAsync(turned, CancellationToken.None));
        Assert.Contains("order", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task PublishAsync_DiskTooSmall_SaysNeededAndFound()
    {
        var needed = TestModel.Config.ParameterCount * sizeof(float);
        using var publisher = NewPublisher(disk: new FailingDisk(freeBytes: needed - 1));
        var refusal = await Assert.ThrowsAsync<UserErrorException>(() => publisher.PublishAsync(TestModel.Snapshot(0), CancellationToken.None));
        Assert.Contains($"{needed:N0} bytes", refusal.Message, StringComparison.Ordinal);
        Assert.Contains($"{needed - 1:N0} free", refusal.Message, StringComparison.Ordinal);
        AssertFolders();
    }

    [Fact]
    public async Task PublishAsync_DiskFullInTheMiddle_NamesThePhaseAndKeepsOlderVersions()
    {
        using (var publisher = NewPublisher()) await publisher.PublishAsync(TestModel.Snapshot(0), CancellationToken.None);
        using var full = NewPublisher(disk: new FailingDisk(long.MaxValue, bytesUntilFull: 4000));
        var refusal = await Assert.ThrowsAsync<UserErrorException>(() => full.PublishAsync(TestModel.Snapshot(1), CancellationToken.None));
        Assert.Contains("'weights'", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("No space left", refusal.Message, StringComparison.Ordinal);
        Assert.Contains($"{TestModel.Config.ParameterCount * sizeof(float):N0} bytes are needed", refusal.Message, StringComparison.Ordinal);
        AssertFolders("v000000");
        PublishedPolicy.Open(FolderOf(0)).Verify();
    }

    [Fact]
    public async Task PublishAsync_DeadlinePassed_NamesThePhaseAndLeavesNothing()
    {
        var clock = new ManualClock();
        using var publisher = new PolicyPublisher(Policies, _model, clock, phaseDeadline: TimeSpan.FromSeconds(30));
        var slow = Interrupted(TestModel.Snapshot(0), () => clock.Advance(TimeSpan.FromSeconds(31)));
        var late = await Assert.ThrowsAsync<TimeoutException>(() => publisher.PublishAsync(slow, CancellationToken.None));
        Assert.Contains("'weights'", late.Message, StringComparison.Ordinal);
        AssertFolders();
    }

    [Fact]
    public async Task PublishAsync_Cancelled_LeavesNothing()
    {
        using var publisher = NewPublisher();
        using var source = new CancellationTokenSource();
        var cancelled = Interrupted(TestModel.Snapshot(0), source.Cancel);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => publisher.PublishAsync(cancelled, source.Token));
        AssertFolders();
        (await publisher.PublishAsync(TestModel.Snapshot(0), CancellationToken.None)).Verify();
    }

    [Fact]
    public async Task PublishAsync_WhileAnotherIsPublished_IsRefused()
    {
        using var publisher = NewPublisher();
        Task? second = null;
        var first = Interrupted(TestModel.Snapshot(0), () => second ??= publisher.PublishAsync(TestModel.Snapshot(1), CancellationToken.None));
        await publisher.PublishAsync(first, CancellationToken.None);
        await Assert.ThrowsAsync<InvalidOperationException>(() => second!);
    }

    [Fact]
    public void Constructor_FolderThatAnotherPublisherHas_IsRefused()
    {
        using (NewPublisher())
            Assert.Contains(Policies, Assert.Throws<UserErrorException>(() => NewPublisher()).Message, StringComparison.Ordinal);
        NewPublisher().Dispose();
    }

    [Fact]
    public async Task Constructor_LeftoversOfAKilledPublish_AreRemovedOrCompleted()
    {
        using (var publisher = NewPublisher())
        {
            for (var version = 0; version < 3; version++) await publisher.PublishAsync(TestModel.Snapshot(version), CancellationToken.None);
        }
        Directory.Move(FolderOf(1), FolderOf(1) + ".partial"); // killed before the renaming: complete
        Directory.CreateDirectory(FolderOf(3) + ".partial"); // killed while writing weights
        File.WriteAllText(Path.Combine(FolderOf(3) + ".partial", PublishedPolicy.WeightsFile), "half");
        File.Delete(Path.Combine(FolderOf(2), PolicyManifest.FileName)); // killed while removing
        Directory.CreateDirectory(Path.Combine(Policies, "videos")); // not ours

        NewPublisher().Dispose();

        AssertFolders("v000000", "v000001", "videos");
        PublishedPolicy.Open(FolderOf(0)).Verify();
        PublishedPolicy.Open(FolderOf(1)).Verify();
    }

    [Fact]
    public async Task Retain_Versions_RemovesAllOthersButTheLast()
    {
        using var publisher = NewPublisher();
        for (var version = 0; version < 5; version++) await publisher.PublishAsync(TestModel.Snapshot(version), CancellationToken.None);
        publisher.Retain(new HashSet<PolicyVersion> { new(1) });
        AssertFolders("v000001", "v000004");
        PublishedPolicy.Open(FolderOf(1)).Verify();
        PublishedPolicy.Open(FolderOf(4)).Verify();
    }

    [Fact]
    public async Task PublishAsync_HalfPrecisionModelFolder_SaysFloat32()
    {
        var config = Path.Combine(_model, "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("float32", "bfloat16", StringComparison.Ordinal));
        using var publisher = NewPublisher();
        var published = await publisher.PublishAsync(TestModel.Snapshot(0), CancellationToken.None);
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(published.Folder, "config.json")));
        Assert.Equal("float32", document.RootElement.GetProperty("torch_dtype").GetString());
    }

    private PolicyPublisher NewPublisher(Disk? disk = null) => new(Policies, _model, TimeProvider.System, maxSequenceLength: null, phaseDeadline: null, Precision.Fp32, disk ?? new Disk());

    private void AssertFolders(params string[] expected) =>
        Assert.Equal(expected, Directory.GetDirectories(Policies).Select(folder => Path.GetFileName(folder)).Order(StringComparer.Ordinal).ToArray());

    private string FolderOf(long version) => Path.Combine(Policies, new PolicyVersion(version).ToString());

    private static WeightSnapshot With(WeightSnapshot snapshot, string name, float value) => snapshot with
    {
        Tensors = [.. snapshot.Tensors.Select(tensor => tensor.Name == name ? TestModel.Tensor(name, tensor.Shape, value) : tensor)],
    };

    // The same snapshot; something happens when its second tensor is read.
    private static WeightSnapshot Interrupted(WeightSnapshot snapshot, Action interrupt) => snapshot with
    {
        Tensors = [.. snapshot.Tensors.Select((tensor, i) => i == 1 ? tensor with { Data = Interrupting(tensor.Data, interrupt) } : tensor)],
    };

    private static bool SameFile(string left, string right)
    {
        using var writer = new FileStream(left, FileMode.Open, FileAccess.Write);
        writer.Seek(0, SeekOrigin.End);
        writer.WriteByte(0); // seen under the other name only if both are one file
        writer.Flush();
        var shared = new FileInfo(right).Length == writer.Length;
        writer.SetLength(writer.Length - 1);
        return shared;
    }

    private static WeightData Interrupting(WeightData data, Action interrupt) => new(data.Length, (start, count) =>
    {
        interrupt();
        return data.Slice(start, count);
    });
}
