using System.Runtime.CompilerServices;
using TorchSharp.Native;

namespace TorchSharp;

// The life of a tensor: one handle, one reference to libtorch's tensor, and the dispose scope that ends it. What can be
// computed with it is in the other files of this folder, by kind; each method there calls one ATen operator
// (Native/Operators.cs) unless it says otherwise.
public static partial class torch
{
    public static DisposeScope? CurrentDisposeScope => DisposeScopeManager.Current.Innermost;

    public static DisposeScope NewDisposeScope() => new(DisposeScopeManager.Current);

    /// <summary>Evaluates within a scope of its own, out of which only the result is moved.</summary>
    public static Tensor WrappedTensorDisposeScope(Func<Tensor> expr)
    {
        using DisposeScope scope = NewDisposeScope();
        return expr().MoveToOuterDisposeScope();
    }

    /// <summary>
    /// A handle to one of libtorch's tensors. Views and aliases are other handles, to other tensors over the same memory.
    /// </summary>
    public partial class Tensor : IDisposable
    {
        private static long s_count;
        private static long s_peak;
        private nint _handle;

        /// <summary>Takes over one reference; a handle of 0 makes an invalid tensor, libtorch's undefined one.</summary>
        internal Tensor(nint handle, bool register = true)
        {
            _handle = handle;
            long count = Interlocked.Increment(ref s_count);
            if (count > s_peak) s_peak = count;
            if (register) OwningDisposeScope = DisposeScopeManager.Current.Register(this);
        }

        ~Tensor() => Dispose(false);

        /// <summary>The tensors of this process that are not disposed.</summary>
        public static long TotalCount => Interlocked.Read(ref s_count);

        /// <summary>The most tensors that there were at a time.</summary>
        public static long PeakCount => Interlocked.Read(ref s_peak);

        public string? name { get; set; }

        public bool IsInvalid => _handle == 0;

        /// <exception cref="InvalidOperationException">The tensor was disposed.</exception>
        public IntPtr Handle => _handle != 0 ? _handle : throw new InvalidOperationException("Tensor invalid -- empty handle.");

        internal DisposeScope? OwningDisposeScope { get; set; }

        /// <summary>Takes over one reference to a libtorch tensor.</summary>
        public static Tensor UnsafeCreateTensor(IntPtr handle) => new(handle);

        /// <summary>Gives the reference to the caller; the tensor is invalid afterwards.</summary>
        public IntPtr DecoupleFromNativeHandle()
        {
            nint handle = Handle;
            GC.SuppressFinalize(this);
            Interlocked.Decrement(ref s_count);
            _handle = 0;
            return handle;
        }

        public Tensor MoveToOuterDisposeScope()
        {
            OwningDisposeScope?.MoveToOuter(this);
            return this;
        }

        public Tensor MoveToOtherDisposeScope(Tensor other) => MoveToOtherDisposeScope(other.OwningDisposeScope);

        public Tensor MoveToOtherDisposeScope(DisposeScope? other)
        {
            if (OwningDisposeScope is not null) OwningDisposeScope.MoveToOther(other, this);
            else other?.Attach(this);
            return this;
        }

        public Tensor DetachFromDisposeScope()
        {
            OwningDisposeScope?.Detach(this);
            return this;
        }

        public bool Equals(Tensor target) => Operators.equal.CallBool(this, target);

        public override bool Equals(object? obj) => obj is Tensor other && Equals(other);

        public override int GetHashCode() => RuntimeHelpers.GetHashCode(this);

        public void Dispose()
        {
            Dispose(true);
            GC.SuppressFinalize(this);
        }

        protected virtual void Dispose(bool disposing)
        {
            nint handle = Interlocked.Exchange(ref _handle, 0);
            if (handle == 0) return;
            DisposeScopeManager.Current.CountDisposal(OwningDisposeScope);
            OwningDisposeScope?.MarkAsDisposed(this);
            Interlocked.Decrement(ref s_count);
            NativeMethods.sapo_tensor_release(handle);
        }

        /// <summary>Another handle to the same libtorch tensor.</summary>
        internal Tensor Share()
        {
            var shared = new Tensor(NativeMethods.sapo_tensor_share(Handle));
            GC.KeepAlive(this);
            return shared;
        }
    }
}
