using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>A tensor's facts, elements and conversions, seen from C#.</summary>
public sealed class DataTests
{
    [Fact]
    public void Facts_OfAView_AreItsOwn()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor t = arange(24, ScalarType.Float32).reshape(2, 3, 4).transpose(0, 2).narrow(0, 1, 2);
        Assert.Equal([2, 3, 2], t.shape);
        Assert.Equal([2, 3, 2], t.size());
        Assert.Equal(2, t.size(-1));
        Assert.Equal([1, 4, 12], t.stride());
        Assert.Equal(12, t.stride(2));
        Assert.Equal(1, t.storage_offset());
        Assert.Equal((3, 3, 3), (t.ndim, t.dim(), t.Dimensions));
        Assert.Equal((12, 12, 12), (t.numel(), t.NumberOfElements, torch.numel(t)));
        Assert.Equal((4, 4), (t.element_size(), t.ElementSize));
        Assert.Equal((ScalarType.Float32, DeviceType.CPU, "cpu"), (t.dtype, t.device_type, t.device.ToString()));
        Assert.True(t.is_floating_point() && torch.is_floating_point(t) && !t.is_integral() && !torch.is_integral(t));
        Assert.True(t.is_cpu() && !t.is_cuda && !t.is_meta && !t.is_contiguous() && !t.is_pinned());
        Assert.Equal("[2x3x2], type = Float32, device = cpu", t.ToString());
        Assert.True(is_tensor(t) && !is_tensor(3));
        Assert.True(t.Handle != 0 && !t.IsInvalid);
        Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => t.size(3));
    }

    [Fact]
    public void Accessor_OfAView_ReadsAndWritesInOrder()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor whole = arange(6, ScalarType.Float32).reshape(2, 3), turned = whole.t();
        var data = turned.data<float>();
        Assert.Equal(6, data.Count);
        Assert.Equal([0, 3, 1, 4, 2, 5], data.ToArray());
        Assert.Equal([0, 3, 1, 4, 2, 5], data.ToList());
        Assert.Equal((4f, 4f), (data[3], data[1, 1]));
        data[2, 0] = 9;
        Assert.Equal(9, whole[0, 2].item<float>());
        data.CopyFrom([7, 8], tensorIndex: 4);
        var some = new float[4];
        data.CopyTo(some, arrayIndex: 1, tensorIndex: 3);
        Assert.Equal([0, 4, 7, 8], some);
        Assert.Equal(8, ((float[,])data.ToNDArray())[2, 1]);
        Assert.True(data == turned.data<float>());
        Assert.False(data != turned.data<float>());
        Assert.Throws<IndexOutOfRangeException>(() => data[6]);
        Assert.Throws<IndexOutOfRangeException>(() => data[3, 0]);
        Assert.Throws<ArgumentException>(() => turned.data<double>());
    }

    [Fact]
    public void Bytes_OfAContiguousTensor_AreItsMemory()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor t = tensor(new[] { 1f, 2f }), other = zeros(2);
        Assert.Equal(8, t.bytes.Length);
        other.bytes = t.bytes;
        Values(other, [2], [1, 2]);
        using var stream = new MemoryStream();
        t.add_(1).WriteBytesToStream(stream, bufferSize: 3);
        stream.Position = 0;
        other.ReadBytesFromStream(stream, bufferSize: 5);
        Values(other, [2], [2, 3]);
        Assert.Throws<ArgumentException>(() => other.bytes = new byte[3]);
        Assert.Throws<InvalidOperationException>(() => zeros(2, 2).t().bytes.Length);
        stream.SetLength(3);
        stream.Position = 0;
        Assert.Throws<EndOfStreamException>(() => other.ReadBytesFromStream(stream));
    }

    [Fact]
    public void SingleElement_AsAnyNumber_IsRead()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor t = tensor(3.0);
        Assert.Equal((3f, 3.0, 3L, 3, (short)3, (sbyte)3, (byte)3, true), (t.ToSingle(), t.ToDouble(), t.ToInt64(), t.ToInt32(),
            t.ToInt16(), t.ToSByte(), t.ToByte(), t.ToBoolean()));
        Assert.Equal((3f, 3.0, 3L, 3, (short)3, (sbyte)3, (byte)3, true), ((float)t, (double)t, (long)t, (int)t, (short)t, (sbyte)t,
            (byte)t, (bool)t));
        Assert.Equal((Half)3, t.ToHalf());
        Assert.Equal(new BFloat16(3), t.ToBFloat16());
        Assert.Equal(3.0, t.item<double>());
        Assert.Equal(ScalarType.Int64, tensor(3).ToScalar().Type);
        Assert.True(t.is_nonzero() && torch.is_nonzero(t));
        Assert.Throws<ArgumentException>(() => zeros(2).item<float>());
        Assert.Throws<ArgumentException>(() => t.item<float>());
        Assert.Throws<InvalidOperationException>(() => zeros(2).is_nonzero());
    }

    [Fact]
    public void ReadCpu_OfEveryType_ReadsOneElement()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor t = arange(3);
        Assert.Equal(2, t.ReadCpuInt64(2));
        Assert.Equal(2, t.@int().ReadCpuInt32(2));
        Assert.Equal(2, t.@short().ReadCpuInt16(2));
        Assert.Equal(2, t.@char().ReadCpuSByte(2));
        Assert.Equal(2, t.@byte().ReadCpuByte(2));
        Assert.True(t.@bool().ReadCpuBool(2));
        Assert.Equal(2, t.@float().ReadCpuSingle(2));
        Assert.Equal(2, t.@double().ReadCpuDouble(2));
        Assert.Equal(2, t.half().ReadCpuFloat16(2));
        Assert.Equal(2, t.bfloat16().ReadCpuBFloat16(2));
        Assert.Equal(2, t.@long().ReadCpuValue<long>(2));
    }

    [Fact]
    public void Conversion_ToTypes_RoundsAndDifferentiates()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = tensor(new[] { 1.00390625f, 2f }, requires_grad: true);
        Values(x.to(ScalarType.BFloat16), [2], [1, 2]);
        foreach (Tensor t in (Tensor[])[x.to(ScalarType.Float64), x.to_type(ScalarType.Float64), x.type(ScalarType.Float64),
            x.to(zeros(1, ScalarType.Float64)), x.type_as(zeros(1, ScalarType.Float64)), x.type(y => y.@double()),
            x.to(ScalarType.Float64, CPU)]) Assert.Equal(ScalarType.Float64, t.dtype);
        foreach (Tensor t in (Tensor[])[x.to(CPU), x.to("cpu"), x.to(DeviceType.CPU), x.cpu()]) Assert.Equal(x.Handle == t.Handle,
            x.shape.Length == 1 && t.device_type == DeviceType.CPU && x.Handle == t.Handle);
        x.to(ScalarType.BFloat16).sum().backward();
        Values(x.grad!, [2], [1, 1]);
        Assert.False(x.to(CPU, copy: true).data<float>().Equals(null));
        Tensor moved = ones(1), kept = moved.to(ScalarType.Int64, disposeAfter: true);
        Assert.True(moved.IsInvalid && !kept.IsInvalid);
    }

    [Fact]
    public void BFloat16_Arithmetic_RoundsToTheNearestEven()
    {
        Assert.Equal(1f, new BFloat16(1.00390625f).ToSingle());
        Assert.Equal(1.015625f, new BFloat16(1.01171875f).ToSingle());
        Assert.True(BFloat16.IsNaN(new BFloat16(float.NaN)) && BFloat16.IsPositiveInfinity(new BFloat16(float.MaxValue)));
        Assert.Equal(3f, (float)((BFloat16)1f + (BFloat16)2f));
        Assert.True((BFloat16)1f < (BFloat16)2f && -(BFloat16)1f == (BFloat16)(-1f));
        Assert.Equal(0.0078125, finfo(ScalarType.BFloat16).eps);
        Assert.Equal(3.4028234663852886e+38, finfo(ScalarType.Float32).max);
        Assert.Equal(6.103515625e-05, finfo(ScalarType.Float16).tiny);
    }

    [Fact]
    public void Process_StateIsReadAndSet()
    {
        Assert.Matches(@"^\d+\.\d+", torch.__version__);
        int threads = get_num_threads();
        set_num_threads(1);
        Assert.Equal(1, get_num_threads());
        set_num_threads(threads);
        Assert.True(get_num_interop_threads() >= 1);
        // libtorch takes this number once, before its first parallel work.
        if (Record.Exception(() =>
            set_num_interop_threads(get_num_interop_threads())) is { } late) Assert.IsType<System.Runtime.InteropServices.ExternalException>(late);
        using (use_deterministic_algorithms())
        {
            Assert.True(are_deterministic_algorithms_enabled());
            Assert.False(is_deterministic_algorithms_warn_only_enabled());
        }
        Assert.False(are_deterministic_algorithms_enabled());
        _assert(true, "holds");
        Assert.ThrowsAny<Exception>(() => _assert(() => false, "does not"));
    }

    [Fact]
    public void Devices_AreNamedAndFound()
    {
        Assert.Equal("cuda:1", new Device("cuda:1").ToString());
        Assert.Equal((DeviceType.CUDA, 2), (device(2).type, device(2).index));
        Assert.Equal(DeviceType.CPU, device("cpu").type);
        Assert.Equal(DeviceType.CPU, device(DeviceType.CPU).type);
        Assert.Equal(DeviceType.CPU, InitializeDevice(null!).type);
        Assert.Equal(DeviceType.CPU, get_default_device().type);
        set_default_device("cpu");
        set_default_device(CPU);
        Assert.Equal(cuda.is_available(), TryInitializeDeviceType(DeviceType.CUDA));
        Assert.Equal(cuda.is_available(), cuda_is_available());
        if (cuda.is_available()) return;
        Assert.Throws<InvalidOperationException>(() => InitializeDeviceType(DeviceType.CUDA));
        Assert.Throws<InvalidOperationException>(() => zeros(1).cuda());
        Assert.Throws<InvalidOperationException>(() => zeros(1, device: CUDA));
        Assert.Equal(0, cuda.device_count());
    }
}
