using TorchSharp.Modules;
using TorchSharp.Native;

namespace TorchSharp;

// Clipping, and parameters as one vector.
public static partial class torch
{
    public static partial class nn
    {
        /// <summary>Clipping, and parameters as one vector.</summary>
        public static partial class utils
        {
            /// <summary>
            /// Multiplies all gradients by min(1, max_norm / (total + 1e-6)), where total is the norm of the vector of the
            /// gradients' norms, and returns total. What is not finite goes through: an infinite total makes gradients 0 or NaN.
            /// </summary>
            public static double clip_grad_norm_(IEnumerable<Parameter> tensors, double max_norm, double norm_type = 2)
            {
                using IDisposable unrecorded = no_grad();
                using DisposeScope scope = NewDisposeScope();
                Tensor[] gradients = Gradients(tensors);
                if (gradients.Length == 0) return 0;
                Device device = gradients[0].device;
                Tensor[] norms = Array.ConvertAll(gradients, gradient => Operators.norm_Scalar.Call(gradient, norm_type).to(device));
                Tensor total = Operators.norm_Scalar.Call(stack(norms), norm_type);
                Tensor factor = (max_norm / (total + 1e-6)).clamp_max(1.0);
                foreach (Tensor gradient in gradients) gradient.mul_(factor.to(gradient.device));
                return total.ToDouble();
            }

            public static void clip_grad_value_(IEnumerable<Parameter> tensors, double clip_value)
            {
                using IDisposable unrecorded = no_grad();
                using DisposeScope scope = NewDisposeScope();
                foreach (Tensor gradient in Gradients(tensors)) gradient.clamp_((Scalar)(-clip_value), (Scalar)clip_value);
            }

            /// <summary>All elements, parameter by parameter, in one dimension: a copy.</summary>
            public static Tensor parameters_to_vector(IEnumerable<Parameter> tensors)
            {
                using DisposeScope scope = NewDisposeScope();
                return cat(tensors.Select(parameter => parameter.reshape(-1)).ToArray()).MoveToOuterDisposeScope();
            }

            /// <summary>Makes the parameters views of the vector, each of its own part.</summary>
            public static unsafe void vector_to_parameters(Tensor vec, IEnumerable<Parameter> tensors)
            {
                using DisposeScope scope = NewDisposeScope();
                long start = 0;
                foreach (Parameter parameter in tensors)
                {
                    long length = parameter.numel();
                    Tensor part = vec.detach().narrow(0, start, length).view_as(parameter);
                    NativeMethods.Check(NativeMethods.sapo_tensor_set_data(parameter.Handle, part.Handle));
                    start += length;
                }
            }

            private static Tensor[] Gradients(IEnumerable<Parameter> parameters) =>
                parameters.Select(parameter => parameter.grad).OfType<Tensor>().ToArray();
        }
    }
}
