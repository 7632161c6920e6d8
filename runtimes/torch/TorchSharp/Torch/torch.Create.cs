using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp.Native;
using TorchSharp.Utils;

namespace TorchSharp;

// How tensors come into being: by shape, from managed memory (copied or shared), as ranges, like other tensors.
public static unsafe partial class torch
{
    public static ScalarType get_default_dtype() => (ScalarType)NativeMethods.sapo_default_dtype();

    public static void set_default_dtype(ScalarType dtype) => NativeMethods.Check(NativeMethods.sapo_set_default_dtype((int)dtype));

    public static Tensor arange(Scalar stop, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        arange(0, stop, 1, dtype, device, requires_grad);

    public static Tensor arange(Scalar start, Scalar stop, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        arange(start, stop, 1, dtype, device, requires_grad);

    /// <summary>From start, in steps, to below stop: Int64 where all three are whole numbers and no type is given.</summary>
    public static Tensor arange(Scalar start, Scalar stop, Scalar step, ScalarType? dtype = null, Device? device = null,
        bool requires_grad = false)
    {
        bool whole = start.Kind != ValueKind.Double && stop.Kind != ValueKind.Double && step.Kind != ValueKind.Double;
        ScalarType type = dtype ?? (whole ? ScalarType.Int64 : get_default_dtype());
        return Operators.arange_start_step.Call(start, stop, step, type, Argument.Default, InitializeDevice(device)).With(requires_grad);
    }

    public static Tensor linspace(double start, double end, long steps, ScalarType? dtype = null, Device? device = null,
        bool requires_grad = false) =>
        Operators.linspace.Call(start, end, steps, dtype, Argument.Default, InitializeDevice(device)).With(requires_grad);

    public static Tensor eye(long rows, long columns = -1, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null) =>
        Operators.eye_m.Call(rows, columns == -1 ? rows : columns, dtype, Argument.Default, InitializeDevice(device)).With(requires_grad,
            names);

    public static Tensor randperm(long n, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        Generator? generator = null) =>
        Operators.randperm_generator.Call(n, generator, dtype ?? ScalarType.Int64, Argument.Default,
            InitializeDevice(device)).With(requires_grad);

    public static Tensor randint(long high, long[] size, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        Generator? generator = null, string[]? names = null) =>
        randint(0, high, size, dtype, device, requires_grad, generator, names);

    public static Tensor randint(long low, long high, long[] size, ScalarType? dtype = null, Device? device = null,
        bool requires_grad = false, Generator? generator = null, string[]? names = null) =>
        Operators.randint_low_generator.Call(low, high, size, generator, dtype ?? ScalarType.Int64, Argument.Default,
            InitializeDevice(device)).With(requires_grad, names);

    public static Tensor normal(double mean, double std, ReadOnlySpan<long> size, ScalarType? dtype = null, Device? device = null,
        bool requires_grad = false, Generator? generator = null, string[]? names = null) =>
        Randn(size.ToArray(), dtype, device, requires_grad: false, generator, names).mul_(std).add_(mean).With(requires_grad);

    public static Tensor zeros_like(Tensor input, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null) =>
        Like(Operators.zeros_like, input, dtype, device).With(requires_grad, names);

    public static Tensor ones_like(Tensor input, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null) =>
        Like(Operators.ones_like, input, dtype, device).With(requires_grad, names);

    public static Tensor empty_like(Tensor input, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null) =>
        Like(Operators.empty_like, input, dtype, device).With(requires_grad, names);

    public static Tensor full_like(Tensor input, Scalar value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false,
        string[]? names = null) =>
        Operators.full_like.Call(input, value, dtype, Argument.Default, device ?? Argument.Default).With(requires_grad, names);

    public static Tensor rand_like(Tensor input, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        Like(Operators.rand_like, input, dtype, device).With(requires_grad);

    public static Tensor randn_like(Tensor input, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        Like(Operators.randn_like, input, dtype, device).With(requires_grad);

    /// <summary>Over the array's own memory, which stays pinned while the tensor lives; another type or device means a copy.</summary>
    public static Tensor from_array(Array rawArray, Device? device = null) => from_array(rawArray, null, device);

    public static Tensor from_array(Array rawArray, ScalarType? dtype, Device? device = null, bool requires_grad = false,
        string[]? names = null)
    {
        var shape = new long[rawArray.Rank];
        for (int i = 0; i < shape.Length; i++) shape[i] = rawArray.GetLongLength(i);
        return Over(rawArray, 0, shape).Placed(dtype, device).With(requires_grad, names);
    }

    /// <summary>One dimension over a part of the array's own memory (offset and count in elements).</summary>
    public static Tensor frombuffer(Array rawArray, ScalarType dtype, long count = -1, long offset = 0, bool requires_grad = false)
    {
        long length = rawArray.LongLength;
        if (offset < 0 || offset >= length) throw new ArgumentException($"invalid value for 'offset': {offset}");
        if (count < 0) count = length - offset;
        if (count > length - offset) throw new IndexOutOfRangeException($"element count is too large: {count}");
        return Over(rawArray, offset, [count]).Placed(dtype, null).With(requires_grad);
    }

    /// <summary>A copy of managed memory, in the type and on the device asked for.</summary>
    private static Tensor FromSpan<T>(ReadOnlySpan<T> source, ReadOnlySpan<long> shape, ScalarType? dtype, Device? device,
        bool requiresGrad, string[]? names = null)
        where T : unmanaged
    {
        long elements = 1;
        foreach (long size in shape) elements *= size;
        if (elements > source.Length)
            throw new ArgumentException($"mismatched total size creating a tensor from an array: {elements} vs. {source.Length}");
        Tensor copy = Operators.empty_memory_format.Call(shape, ElementTypes.Of(typeof(T)), Argument.Default, CPU);
        source[..(int)elements].CopyTo(new Span<T>((void*)copy.DataPointer(), (int)elements));
        Tensor placed = copy.Placed(dtype, device);
        if (!ReferenceEquals(placed, copy)) copy.Dispose();
        return placed.With(requiresGrad, names);
    }

    private static Tensor FromArray<T>(Array source, ScalarType? dtype, Device? device, bool requiresGrad, string[]? names)
        where T : unmanaged
    {
        var shape = new long[source.Rank];
        for (int i = 0; i < shape.Length; i++) shape[i] = source.GetLongLength(i);
        ref T first = ref Unsafe.As<byte, T>(ref MemoryMarshal.GetArrayDataReference(source));
        return FromSpan(MemoryMarshal.CreateReadOnlySpan(ref first, source.Length), shape, dtype, device, requiresGrad, names);
    }

    /// <summary>A tensor over an array's own memory, from an element on.</summary>
    private static Tensor Over(Array array, long offset, ReadOnlySpan<long> shape)
    {
        ScalarType type = ElementTypes.OfElements(array);
        GCHandle pin = GCHandle.Alloc(array, GCHandleType.Pinned);
        nint data = pin.AddrOfPinnedObject() + (nint)(offset * type.ElementSize());
        fixed (long* sizes = shape)
        {
            NativeMethods.Check(NativeMethods.sapo_tensor_over(data, sizes, shape.Length, (int)type, GCHandle.ToIntPtr(pin), &Unpin,
                out nint handle));
            return new Tensor(handle);
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Unpin(nint context) => GCHandle.FromIntPtr(context).Free();

    private static Tensor Zeros(long[] size, ScalarType? dtype, Device? device, bool requires_grad, string[]? names) =>
        Operators.zeros.Call(size, dtype, Argument.Default, InitializeDevice(device)).With(requires_grad, names);

    private static Tensor Ones(long[] size, ScalarType? dtype, Device? device, bool requires_grad, string[]? names) =>
        Operators.ones.Call(size, dtype, Argument.Default, InitializeDevice(device)).With(requires_grad, names);

    private static Tensor Empty(long[] size, ScalarType? dtype, Device? device, bool requires_grad, string[]? names) =>
        Operators.empty_memory_format.Call(size, dtype, Argument.Default, InitializeDevice(device)).With(requires_grad, names);

    /// <summary>
    /// Filled with a number: without a type, Bool for a truth value, Int64 for a whole number, the default type otherwise.
    /// </summary>
    private static Tensor Full(long[] size, Scalar value, ScalarType? dtype, Device? device, bool requires_grad, string[]? names) =>
        Operators.full.Call(size, value, dtype, Argument.Default, InitializeDevice(device)).With(requires_grad, names);

    private static Tensor Rand(long[] size, ScalarType? dtype, Device? device, bool requires_grad, Generator? generator, string[]? names) =>
        Operators.rand_generator.Call(size, generator, dtype, Argument.Default, InitializeDevice(device)).With(requires_grad, names);

    private static Tensor Randn(long[] size, ScalarType? dtype, Device? device, bool requires_grad, Generator? generator,
        string[]? names) =>
        Operators.randn_generator.Call(size, generator, dtype, Argument.Default, InitializeDevice(device)).With(requires_grad, names);

    private static Tensor Like(Operator maker, Tensor input, ScalarType? dtype, Device? device) =>
        maker.Call(input, dtype, Argument.Default, device ?? Argument.Default);

    public partial class Tensor
    {
        public Tensor zeros_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            torch.zeros_like(this, dtype, device, requires_grad);

        public Tensor ones_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            torch.ones_like(this, dtype, device, requires_grad);

        public Tensor empty_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            torch.empty_like(this, dtype, device, requires_grad);

        public Tensor full_like(Scalar value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            torch.full_like(this, value, dtype, device, requires_grad);

        public Tensor rand_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            torch.rand_like(this, dtype, device, requires_grad);

        public Tensor randn_like(ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            torch.randn_like(this, dtype, device, requires_grad);

        public Tensor new_zeros(long[] size, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            Zeros(size, dtype ?? this.dtype, device ?? this.device, requires_grad, null);

        public Tensor new_empty(long[] size, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            Empty(size, dtype ?? this.dtype, device ?? this.device, requires_grad, null);

        public Tensor new_full(long[] size, Scalar value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
            Full(size, value, dtype ?? this.dtype, device ?? this.device, requires_grad, null);

        /// <summary>The end of every factory: the tensor just made, as a leaf that requires a gradient or not.</summary>
        internal Tensor With(bool requiresGrad, string[]? names = null)
        {
            if (names is not null) throw new NotSupportedException("Named dimensions are not supported by this TorchSharp assembly. Leave 'names' out.");
            if (requiresGrad) requires_grad = true;
            return this;
        }

        /// <summary>This tensor, or its conversion where another type or device is asked for.</summary>
        internal Tensor Placed(ScalarType? dtype, Device? device)
        {
            TensorFacts facts = Facts();
            Device target = device ?? s_default;
            bool fits = (dtype is null || (int)dtype == facts.ScalarType)
                && (int)target.type == facts.DeviceType && (target.index == -1 || target.index == facts.DeviceIndex);
            return fits ? this : to(dtype ?? (ScalarType)facts.ScalarType, target);
        }
    }
}
