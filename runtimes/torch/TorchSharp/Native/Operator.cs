using System.Runtime.CompilerServices;
using System.Text;
using static TorchSharp.torch;

namespace TorchSharp.Native;

/// <summary>
/// An ATen operator, found by schema name and overload at its first call. A call lays the arguments out on the stack, and
/// the shim reads them as the schema says; arguments left out at the end take the schema's defaults.
/// </summary>
internal sealed unsafe class Operator(string name, string overload = "")
{
    private const int ArenaWords = 64;
    private nint _found;

    /// <summary>Whether this libtorch has the operator.</summary>
    internal bool Exists => NativeMethods.sapo_operator_exists("aten::" + name, overload) != 0;

    /// <summary>Calls an operator of one tensor result.</summary>
    internal Tensor Call(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue result;
        Invoke(arguments, &result, 1);
        return new Tensor((nint)result.Bits);
    }

    /// <summary>Calls an operator for its effect on its first argument; its results, the same tensors, are dropped.</summary>
    internal void Apply(params ReadOnlySpan<Argument> arguments) => Invoke(arguments, null, 0);

    /// <summary>Calls an in-place operator and returns the tensor that it changed, its first argument.</summary>
    internal Tensor Change(params ReadOnlySpan<Argument> arguments)
    {
        Invoke(arguments, null, 0);
        return (Tensor)arguments[0].Reference!;
    }

    /// <summary>Calls an operator of two tensor results.</summary>
    internal (Tensor, Tensor) CallPair(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue* results = stackalloc NativeValue[2];
        Invoke(arguments, results, 2);
        return (new Tensor((nint)results[0].Bits), new Tensor((nint)results[1].Bits));
    }

    /// <summary>Calls an operator of three tensor results.</summary>
    internal (Tensor, Tensor, Tensor) CallTriple(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue* results = stackalloc NativeValue[3];
        Invoke(arguments, results, 3);
        return (new Tensor((nint)results[0].Bits), new Tensor((nint)results[1].Bits), new Tensor((nint)results[2].Bits));
    }

    /// <summary>Calls an operator whose result is a list of tensors.</summary>
    internal Tensor[] CallList(params ReadOnlySpan<Argument> arguments)
    {
        const int Expected = 16;
        NativeValue* results = stackalloc NativeValue[Expected];
        int count = Invoke(arguments, results, Expected);
        if (count <= Expected) return Wrap(new ReadOnlySpan<NativeValue>(results, count));
        var many = new NativeValue[count];
        fixed (NativeValue* taken = many) NativeMethods.sapo_take_results(taken);
        return Wrap(many);
    }

    /// <summary>Calls an operator whose result is a truth value.</summary>
    internal bool CallBool(params ReadOnlySpan<Argument> arguments) => CallScalar(arguments).Bits != 0;

    /// <summary>Calls an operator whose result is a number.</summary>
    internal NativeValue CallScalar(params ReadOnlySpan<Argument> arguments)
    {
        NativeValue result;
        Invoke(arguments, &result, 1);
        return result;
    }

    private static Tensor[] Wrap(ReadOnlySpan<NativeValue> results)
    {
        var tensors = new Tensor[results.Length];
        for (int i = 0; i < tensors.Length; i++) tensors[i] = new Tensor((nint)results[i].Bits);
        return tensors;
    }

    [SkipLocalsInit]
    private int Invoke(ReadOnlySpan<Argument> arguments, NativeValue* results, int capacity)
    {
        if (_found == 0)
        {
            NativeMethods.Check(NativeMethods.sapo_operator_find("aten::" + name, overload, out nint found));
            _found = found;
        }
        NativeValue* values = stackalloc NativeValue[arguments.Length];
        int words = 0;
        foreach (ref readonly Argument argument in arguments) words += WordsOf(argument);
        Span<long> arena = words <= ArenaWords ? stackalloc long[ArenaWords] : GC.AllocateUninitializedArray<long>(words, pinned: true);
        long* free = (long*)Unsafe.AsPointer(ref arena[0]);
        for (int i = 0; i < arguments.Length; i++) free += LayOut(arguments[i], ref values[i], free);
        int count;
        byte* error = NativeMethods.sapo_operator_call(_found, values, arguments.Length, results, capacity, &count);
        foreach (ref readonly Argument argument in arguments) GC.KeepAlive(argument.Reference);
        NativeMethods.Check(error);
        return count;
    }

    /// <summary>The room that an argument's list or text takes, in words of 8 bytes.</summary>
    private static int WordsOf(in Argument argument) => argument.Kind switch
    {
        ValueKind.IntList => ((long[])argument.Reference!).Length,
        ValueKind.DoubleList => ((double[])argument.Reference!).Length,
        ValueKind.TensorList => ((Tensor?[])argument.Reference!).Length,
        ValueKind.String => (Encoding.UTF8.GetByteCount((string)argument.Reference!) + 7) / 8,
        _ => 0,
    };

    private static int LayOut(in Argument argument, ref NativeValue value, long* free)
    {
        int words = WordsOf(argument);
        value.Kind = argument.Kind;
        value.Length = words;
        value.Bits = words == 0 ? argument.Bits : (long)free;
        switch (argument.Kind)
        {
            case ValueKind.Tensor:
                value.Bits = ((Tensor)argument.Reference!).Handle;
                break;
            case ValueKind.Generator:
                value.Bits = ((Generator)argument.Reference!).Handle;
                break;
            case ValueKind.IntList:
                ((long[])argument.Reference!).CopyTo(new Span<long>(free, words));
                break;
            case ValueKind.DoubleList:
                ((double[])argument.Reference!).CopyTo(new Span<double>(free, words));
                break;
            case ValueKind.TensorList:
                foreach (Tensor? tensor in (Tensor?[])argument.Reference!) *free++ = tensor is null ? 0 : tensor.Handle;
                break;
            case ValueKind.String:
                value.Length = Encoding.UTF8.GetBytes((string)argument.Reference!, new Span<byte>(free, words * sizeof(long)));
                break;
        }
        return words;
    }
}
