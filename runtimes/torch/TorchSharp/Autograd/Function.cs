using TorchSharp.Native;

namespace TorchSharp;

// Operations whose backward is written in C#.
//   apply -> forward, unrecorded -> outputs joined to a node of the graph -> ... -> the engine calls NodeContext -> backward
public static partial class torch
{
    public static unsafe partial class autograd
    {
        /// <summary>What forward leaves for backward.</summary>
        public class AutogradContext : IDisposable
        {
            private readonly Dictionary<string, object> _data = [];
            private readonly NodeContext _node;

            internal AutogradContext(NodeContext node) => _node = node;

            /// <summary>Whether backward gets zeros where no gradient came.</summary>
            public bool MaterializeGrads { get; private set; } = true;

            internal List<Tensor> Dirty { get; private set; } = [];

            internal List<Tensor> NonDifferentiable { get; private set; } = [];

            /// <summary>
            /// Tensors that backward needs: inputs and outputs of forward and anything between. References are taken at once.
            /// </summary>
            public void save_for_backward(List<Tensor> tensors) => _node.Save(tensors);

            /// <summary>The saved tensors, new handles; an error where one was changed in place since.</summary>
            public List<Tensor> get_saved_variables() => _node.Saved();

            public void save_data(string key, object value) => _data[key] = value;

            public object get_data(string key) => _data.GetValueOrDefault(key)!;

            /// <summary>Inputs that forward changed in place.</summary>
            public void mark_dirty(List<Tensor> tensors) => Dirty = [.. tensors];

            /// <summary>Outputs through which no gradient flows.</summary>
            public void mark_non_differentiable(List<Tensor> tensors) => NonDifferentiable = [.. tensors];

            public void set_materialize_grads(bool value) => MaterializeGrads = value;

            public void Dispose()
            {
                Dispose(true);
                GC.SuppressFinalize(this);
            }

            protected virtual void Dispose(bool disposing)
            {
                if (disposing) _data.Clear();
            }
        }

        /// <summary>An operation with a backward of its own; derive from one of the two classes below.</summary>
        public abstract class Function<T>
            where T : Function<T>, new()
        {
            private static readonly T s_instance = new();

            public abstract string Name { get; }

            /// <summary>Runs forward on the arguments; tensors among them become inputs of the graph's node.</summary>
            public static List<Tensor> apply_internal(params object[] vars)
            {
                bool[] isTensor = Array.ConvertAll(vars, argument => argument is Tensor { IsInvalid: false });
                List<Tensor> inputs = vars.OfType<Tensor>().Where(tensor => !tensor.IsInvalid).ToList();
                bool recorded = is_grad_enabled() && inputs.Exists(input => input.requires_grad);
                var node = new NodeContext(s_instance.Name, isTensor, s_instance.BackwardOf);
                using NodeContext.Building building = node.Build(inputs);
                List<Tensor> outputs;
                using (no_grad()) outputs = s_instance.ForwardOf(node.Context, vars);
                return recorded ? building.Join(inputs, outputs) : outputs.ConvertAll(output => output.Share());
            }

            internal abstract List<Tensor> ForwardOf(AutogradContext context, object[] arguments);

            internal abstract List<Tensor> BackwardOf(AutogradContext context, List<Tensor> gradients);
        }

        /// <summary>An operation of one output. backward returns one gradient per argument of apply, null where it is no tensor.</summary>
        public abstract class SingleTensorFunction<T> : Function<T>
            where T : SingleTensorFunction<T>, new()
        {
            public static Tensor apply(params object[] vars) => apply_internal(vars)[0];

            public abstract Tensor forward(AutogradContext ctx, params object[] vars);

            public abstract List<Tensor> backward(AutogradContext ctx, Tensor grad_output);

            internal sealed override List<Tensor> ForwardOf(AutogradContext context, object[] arguments) => [forward(context, arguments)];

            internal sealed override List<Tensor> BackwardOf(AutogradContext context, List<Tensor> gradients) =>
                backward(context, gradients[0]);
        }

        /// <summary>
        /// An operation of several outputs. backward returns one gradient per argument of apply, null where it is no tensor.
        /// </summary>
        public abstract class MultiTensorFunction<T> : Function<T>
            where T : MultiTensorFunction<T>, new()
        {
            public static List<Tensor> apply(params object[] vars) => apply_internal(vars);

            public abstract List<Tensor> forward(AutogradContext ctx, params object[] vars);

            public abstract List<Tensor> backward(AutogradContext ctx, List<Tensor> grad_outputs);

            internal sealed override List<Tensor> ForwardOf(AutogradContext context, object[] arguments) => forward(context, arguments);

            internal sealed override List<Tensor> BackwardOf(AutogradContext context, List<Tensor> gradients) =>
                backward(context, gradients);
        }
    }
}
