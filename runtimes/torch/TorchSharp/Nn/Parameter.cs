using static TorchSharp.torch;

namespace TorchSharp
{
    namespace Modules
    {
        /// <summary>
        /// A tensor that a module learns. It takes over the handle, and the place in the dispose scope, of the tensor that it is made of.
        /// </summary>
        public class Parameter : Tensor
        {
            public Parameter(Tensor data, bool requires_grad = true)
                : base(data.with_requires_grad(requires_grad).GiveUpHandle(out DisposeScope? scope), register: false) =>
                    scope?.TakeOver(data, this);
        }
    }

    public static partial class torch
    {
        /// <summary>Building blocks of networks.</summary>
        public static partial class nn
        {
            public static Modules.Parameter Parameter(Tensor data, bool requires_grad = true) => new(data, requires_grad);
        }

        public partial class Tensor
        {
            /// <summary>Ends this object without giving the reference back: its next owner does.</summary>
            internal nint GiveUpHandle(out DisposeScope? scope)
            {
                scope = OwningDisposeScope;
                return DecoupleFromNativeHandle();
            }
        }
    }
}
