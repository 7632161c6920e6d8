using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Sapo.Core.Safetensors;

namespace Sapo.Core.Tests.Models;

public sealed class SafetensorsTests : IDisposable
{
    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-safetensors-");

    public void Dispose() => _scratch.Delete(recursive: true);

    [Fact]
    public void Write_TensorsOfEveryType_ReadBackTheSame()
    {
        WeightTensor[] tensors = [.. Enum.GetValues<WeightType>().Select((type, i) => Tensor($"t.{type}", type, [i + 1, 2])), Tensor("scalar", WeightType.F32, []), Tensor("empty", WeightType.F16, [0, 3])];
        var path = PathOf("all.safetensors");
        WrittenFile written;
        using (var stream = File.Create(path)) written = SafetensorsWriter.Write(stream, tensors, new Dictionary<string, string>(StringComparer.Ordinal) { ["step"] = "7" });

        Assert.Equal(new FileInfo(path).Length, written.Bytes);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path))), written.Sha256);
        using var file = SafetensorsFile.Open(path);
        Assert.Equal(tensors.Length, file.Entries.Count);
        foreach (var tensor in tensors)
        {
            var entry = file.Find(tensor.Name)!;
            Assert.Equal((tensor.Type, tensor.Data.Length), (entry.Type, entry.Bytes));
            Assert.Equal(tensor.Shape, entry.Shape);
            Assert.True(tensor.Data.Slice(0, (int)tensor.Data.Length).Span.SequenceEqual(file.Read(entry)));
        }
    }

    [Fact]
    public void FileOffsets_OfHeadersAlone_AreWhereTheDataLie()
    {
        WeightTensor[] tensors = [Tensor("a", WeightType.F32, [3]), Tensor("b", WeightType.U8, [5]), Tensor("c", WeightType.F32, [2, 2])];
        var path = Write(tensors);
        using var file = SafetensorsFile.Open(path);
        var offsets = SafetensorsWriter.FileOffsets([.. tensors.Select(SafetensorsWriter.HeaderOf)]);
        Assert.All(file.Entries, entry => Assert.Equal(entry.FileOffset, offsets[entry.Name]));
        Assert.Equal(0, offsets["a"] % 64);
    }

    [Fact]
    public void Write_DataOfAnotherLength_IsRefused()
    {
        using var stream = new MemoryStream();
        var tooLong = new WeightTensor("w", WeightType.F32, [2], new byte[12]);
        Assert.Contains("+4 bytes off", Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(stream, [tooLong])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_PartOfATensor_IsThatPart()
    {
        var tensor = Tensor("a", WeightType.F32, [8]);
        using var file = SafetensorsFile.Open(Write([tensor]));
        var entry = file.Find("a")!;
        Assert.True(tensor.Data.Slice(4, 12).Span.SequenceEqual(file.Read(entry, 4, 12)));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(entry, 28, 8).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(entry, -1, 8).Length);
    }

    [Fact]
    public void AddressOf_AfterDispose_Throws()
    {
        var file = SafetensorsFile.Open(Write([Tensor("a", WeightType.F32, [1])]));
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.AddressOf(file.Entries[0]));
    }

    // Each header is followed by 8 bytes of data.
    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", null)]
    [InlineData("""{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   """, null)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", null)]
    [InlineData("""{"__metadata__":["pt"],"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "__metadata__")]
    [InlineData("""{"__metadata__":{"step":7},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "__metadata__")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", "4 bytes follow")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", "gap")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", "overlaps")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", "truncated")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}""", "span 8 bytes")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}}""", "a")]
    [InlineData("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", "[-2]")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", "[8, 0]")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}""", "a")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}""", "[0]")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}""", "a")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]}}""", "header")]
    [InlineData("""{"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}}""", "f32")]
    [InlineData("""{"a":{"dtype":"0","shape":[2],"data_offsets":[0,8]}}""", "dtype 0")]
    [InlineData("""{"a":{"dtype":"F32, F16","shape":[2],"data_offsets":[0,8]}}""", "dtype")]
    [InlineData("""{"a":{"dtype":null,"shape":[2],"data_offsets":[0,8]}}""", "dtype")]
    [InlineData("""{"a":{"shape":[2],"data_offsets":[0,8]}}""", "header")]
    [InlineData("""{"a":7}""", "header")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", "header")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "duplicate")]
    [InlineData("""[]""", "header")]
    [InlineData("""{"a":""", "header")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} more""", "header")]
    public void Open_Header_IsTakenOrRefusedByName(string header, string? complaint)
    {
        var path = PathOf("header.safetensors");
        var json = Encoding.UTF8.GetBytes(header);
        var content = new byte[8 + json.Length + 8];
        BinaryPrimitives.WriteInt64LittleEndian(content, json.Length);
        json.CopyTo(content, 8);
        File.WriteAllBytes(path, content);
        if (complaint is null)
        {
            SafetensorsFile.Open(path).Dispose();
            return;
        }
        var refusal = Assert.Throws<UserErrorException>(() => SafetensorsFile.Open(path));
        Assert.Contains(path, refusal.Message, StringComparison.Ordinal);
        Assert.Contains(complaint, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(100UL)]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 63)]
    public void Open_HeaderLengthBeyondTheFile_IsRefused(ulong length)
    {
        var path = PathOf("length.safetensors");
        var content = new byte[32];
        BinaryPrimitives.WriteUInt64LittleEndian(content, length);
        File.WriteAllBytes(path, content);
        Assert.Contains(path, Assert.Throws<UserErrorException>(() => SafetensorsFile.Open(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_AnyTruncationOrFlippedByte_NeverCrashes()
    {
        var sound = File.ReadAllBytes(Write([Tensor("a.weight", WeightType.F32, [2, 3]), Tensor("b", WeightType.BF16, [4])]));
        var path = PathOf("hostile.safetensors");
        var random = new Random(5);
        var refused = 0;
        for (var round = 0; round < 2000; round++)
        {
            var bytes = sound.ToArray();
            if (round < sound.Length) bytes = bytes[..round];
            else bytes[random.Next(160)] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(path, bytes);
            try
            {
                SafetensorsFile.Open(path).Dispose();
            }
            catch (UserErrorException)
            {
                refused++;
            }
        }
        Assert.True(refused > sound.Length - 1, $"only {refused} refused");
    }

    private string Write(IReadOnlyList<WeightTensor> tensors)
    {
        var path = PathOf("tensors.safetensors");
        using var stream = File.Create(path);
        SafetensorsWriter.Write(stream, tensors);
        return path;
    }

    private static WeightTensor Tensor(string name, WeightType type, long[] shape)
    {
        var bytes = new byte[SafetensorsFile.ElementSize(type) * shape.Aggregate(1L, (product, size) => product * size)];
        for (var i = 0; i < bytes.Length; i++) bytes[i] = (byte)(i * 37 + name.Length);
        return new WeightTensor(name, type, shape, bytes);
    }

    private string PathOf(string name) => Path.Combine(_scratch.FullName, name);
}
