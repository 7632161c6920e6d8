using TorchSharp.Native;

namespace TorchSharp;

// A tensor's part in differentiation.
public static partial class torch
{
    public unsafe partial class Tensor
    {
        public bool requires_grad
        {
            get => Facts().RequiresGrad != 0;
            set
            {
                NativeMethods.Check(NativeMethods.sapo_tensor_set_requires_grad(Handle, value ? 1 : 0));
                GC.KeepAlive(this);
            }
        }

        /// <summary>The accumulated gradient; null where there is none. Each read makes a handle of its own.</summary>
        public Tensor? grad
        {
            get
            {
                NativeMethods.Check(NativeMethods.sapo_tensor_grad(Handle, out nint gradient));
                GC.KeepAlive(this);
                return gradient == 0 ? null : new Tensor(gradient);
            }
            set
            {
                NativeMethods.Check(NativeMethods.sapo_tensor_set_grad(Handle, value is null ? 0 : value.Handle));
                GC.KeepAlive(this);
                GC.KeepAlive(value);
            }
        }

        public Tensor requires_grad_(bool requires_grad = true)
        {
            this.requires_grad = requires_grad;
            return this;
        }

        public Tensor with_requires_grad(bool requires_grad = true) => requires_grad_(requires_grad);

        /// <summary>Keeps the gradient of a tensor that is no leaf.</summary>
        public void retain_grad()
        {
            NativeMethods.Check(NativeMethods.sapo_tensor_retain_grad(Handle));
            GC.KeepAlive(this);
        }

        public void backward() => autograd.Backward([this], null, retainGraph: false, createGraph: false, null);

        public void backward(IList<Tensor>? grad_tensors = null, bool retain_graph = false, bool create_graph = false,
            IList<Tensor>? inputs = null) =>
            autograd.Backward([this], grad_tensors, retain_graph, create_graph, inputs);

        public Tensor detach() => Operators.detach.Call(this);

        public Tensor detach_()
        {
            Operators.detach_.Apply(this);
            return this;
        }
    }
}
