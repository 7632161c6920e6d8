using TorchSharp.Modules;
using static TorchSharp.torch;

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class optim
        {
            public static Adam Adam(IEnumerable<Parameter> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999,
                double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters, lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);

            public static Adam Adam(IEnumerable<(string name, Parameter parameter)> parameters, double lr = 1e-3, double beta1 = 0.9,
                double beta2 = 0.999, double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters.Select(named => named.parameter), lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);

            public static Adam Adam(IEnumerable<Adam.ParamGroup> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999,
                double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters, lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);
        }
    }

    namespace Modules
    {
        /// <summary>
        /// Adam: steps scaled by the moments of the gradient. With gradient g in a parameter's step k: g += decay p; m = b1 m + (1 - b1) g;
        /// v = b2 v + (1 - b2) g^2;
        /// p -= lr / (1 - b1^k) * m / (sqrt(v) / sqrt(1 - b2^k) + eps). A parameter without a gradient is left as it is.
        /// </summary>
        public class Adam : OptimizerHelper, optim.IBetas
        {
            public Adam(IEnumerable<Parameter> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8,
                double weight_decay = 0, bool amsgrad = false, bool maximize = false)
                : this([new ParamGroup { Parameters = parameters }], lr, beta1, beta2, eps, weight_decay, amsgrad, maximize)
            {
            }

            public Adam(IEnumerable<ParamGroup> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8,
                double weight_decay = 0, bool amsgrad = false, bool maximize = false)
            {
                AdamMoments.CheckOptions(lr, beta1, beta2, eps, weight_decay);
                _defaults = new Options { LearningRate = lr, InitialLearningRate = lr, beta1 = beta1, beta2 = beta2, eps = eps,
                    weight_decay = weight_decay, amsgrad = amsgrad, maximize = maximize };
                foreach (ParamGroup group in parameters) add_param_group(group);
            }

            public (double, double) Betas
            {
                get => (((Options)_defaults).beta1!.Value, ((Options)_defaults).beta2!.Value);
                set => (((Options)_defaults).beta1, ((Options)_defaults).beta2) = value;
            }

            public override void add_param_group(Modules.ParamGroup param_group)
            {
                param_group.Options ??= new Options();
                ((Options)param_group.Options).FillFrom((Options)_defaults);
                Add(param_group, parameter => new State(parameter));
            }

            public override Tensor? step(Func<Tensor>? closure = null) => _step<ParamGroup>(StepGroup, closure);

            protected override void Dispose(bool disposing)
            {
                base.Dispose(disposing);
                if (disposing) DisposeStates();
            }

            private void StepGroup(ParamGroup group)
            {
                Options options = group.Options;
                double lr = options.LearningRate!.Value, decay = options.weight_decay!.Value;
                foreach (Parameter parameter in group.Parameters)
                {
                    var state = (State)_state[parameter.Handle];
                    if (parameter.grad is not { } gradient) continue;
                    if (options.maximize!.Value) gradient = gradient.neg();
                    state.step++;
                    if (decay != 0) gradient = gradient.add(parameter, alpha: decay);
                    AdamMoments.Update(state.exp_avg, state.exp_avg_sq, gradient, options.beta1!.Value, options.beta2!.Value);
                    if (options.amsgrad!.Value) state.max_exp_avg_sq = AdamMoments.Larger(state.max_exp_avg_sq!, state.exp_avg_sq);
                    AdamMoments.Apply(parameter, state.exp_avg, state.max_exp_avg_sq ?? state.exp_avg_sq, state.step, lr,
                        options.beta1.Value, options.beta2.Value, options.eps!.Value);
                }
            }

            /// <summary>The moments of one parameter's gradient, in its shape and type.</summary>
            public sealed class State(Parameter parameter) : OptimizerState(parameter), IDisposable
            {
                public long step;
                public Tensor exp_avg = null!;
                public Tensor exp_avg_sq = null!;
                public Tensor? max_exp_avg_sq;

                public override void Initialize(OptimizerOptions options)
                {
                    Dispose();
                    step = 0;
                    exp_avg = zeros_like(_parameter).DetachFromDisposeScope();
                    exp_avg_sq = zeros_like(_parameter).DetachFromDisposeScope();
                    max_exp_avg_sq = ((Options)options).amsgrad == true ? zeros_like(_parameter).DetachFromDisposeScope() : null;
                }

                public override void LoadStateDict(OptimizerState source)
                {
                    var other = (State)source;
                    Dispose();
                    step = other.step;
                    exp_avg = Copied(other.exp_avg, _parameter.device)!;
                    exp_avg_sq = Copied(other.exp_avg_sq, _parameter.device)!;
                    max_exp_avg_sq = Copied(other.max_exp_avg_sq, _parameter.device);
                }

                public override bool ApproximatelyEquals(OptimizerState other) =>
                    other is State state && step == state.step && exp_avg.allclose(state.exp_avg) && exp_avg_sq.allclose(state.exp_avg_sq)
                    && (max_exp_avg_sq is null || max_exp_avg_sq.allclose(state.max_exp_avg_sq!));

                public override void to(Device device)
                {
                    exp_avg = Moved(exp_avg, device)!;
                    exp_avg_sq = Moved(exp_avg_sq, device)!;
                    max_exp_avg_sq = Moved(max_exp_avg_sq, device);
                }

                public void Dispose()
                {
                    exp_avg?.Dispose();
                    exp_avg_sq?.Dispose();
                    max_exp_avg_sq?.Dispose();
                }
            }

            /// <summary>The options of a group.</summary>
            public class Options : OptimizerOptions
            {
                public double? beta1;
                public double? beta2;
                public double? weight_decay;
                public double? eps;
                public bool? amsgrad;
                public bool? maximize;

                public override void LoadStateDict(OptimizerOptions source)
                {
                    base.LoadStateDict(source);
                    var other = (Options)source;
                    (beta1, beta2, weight_decay, eps, amsgrad, maximize) = (other.beta1, other.beta2, other.weight_decay, other.eps,
                        other.amsgrad, other.maximize);
                }

                internal void FillFrom(Options defaults)
                {
                    LearningRate ??= defaults.LearningRate;
                    beta1 ??= defaults.beta1;
                    beta2 ??= defaults.beta2;
                    weight_decay ??= defaults.weight_decay;
                    eps ??= defaults.eps;
                    amsgrad ??= defaults.amsgrad;
                    maximize ??= defaults.maximize;
                }
            }

            /// <summary>Parameters with options of their own.</summary>
            public class ParamGroup : ParamGroup<Options>, optim.IBetas
            {
                public ParamGroup()
                {
                }

                public ParamGroup(IEnumerable<Parameter> parameters, Options options)
                    : base(parameters, options)
                {
                }

                public ParamGroup(IEnumerable<Parameter> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999,
                    double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false)
                    : base(parameters, new Options { LearningRate = lr, beta1 = beta1, beta2 = beta2, eps = eps,
                        weight_decay = weight_decay, amsgrad = amsgrad, maximize = maximize })
                {
                }

                public (double, double) Betas
                {
                    get => (Options.beta1!.Value, Options.beta2!.Value);
                    set => (Options.beta1, Options.beta2) = value;
                }
            }
        }
    }
}
