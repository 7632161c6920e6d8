using TorchSharp.Modules;
using static TorchSharp.torch;

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class optim
        {
            public static SGD SGD(IEnumerable<Parameter> parameters, double learningRate, double momentum = 0, double dampening = 0,
                double weight_decay = 0, bool nesterov = false, bool maximize = false) =>
                new(parameters, learningRate, momentum, dampening, weight_decay, nesterov, maximize);

            public static SGD SGD(IEnumerable<(string name, Parameter parameter)> parameters, double learningRate, double momentum = 0,
                double dampening = 0, double weight_decay = 0, bool nesterov = false, bool maximize = false) =>
                new(parameters.Select(named => named.parameter), learningRate, momentum, dampening, weight_decay, nesterov, maximize);

            public static SGD SGD(IEnumerable<SGD.ParamGroup> parameters, double learningRate, double momentum = 0, double dampening = 0,
                double weight_decay = 0, bool nesterov = false, bool maximize = false) =>
                new(parameters, learningRate, momentum, dampening, weight_decay, nesterov, maximize);
        }
    }

    namespace Modules
    {
        /// <summary>
        /// Stochastic gradient descent: g += decay p; with momentum b = momentum b + (1 - dampening) g (first b = g), and
        /// g = b, or g + momentum b (nesterov); p -= lr g.
        /// </summary>
        public class SGD : OptimizerHelper, optim.IMomentum
        {
            public SGD(IEnumerable<Parameter> parameters, double lr, double momentum = 0, double dampening = 0, double weight_decay = 0,
                bool nesterov = false, bool maximize = false)
                : this([new ParamGroup { Parameters = parameters }], lr, momentum, dampening, weight_decay, nesterov, maximize)
            {
            }

            public SGD(IEnumerable<ParamGroup> parameters, double lr, double momentum = 0, double dampening = 0, double weight_decay = 0,
                bool nesterov = false, bool maximize = false)
            {
                if (!(lr >= 0)) throw new ArgumentException($"Invalid learning rate: {lr}");
                if (!(momentum >= 0)) throw new ArgumentException($"Invalid momentum value: {momentum}");
                if (!(weight_decay >= 0)) throw new ArgumentException($"Invalid weight_decay value: {weight_decay}");
                if (nesterov && (momentum <= 0 || dampening != 0)) throw new ArgumentException("Nesterov momentum requires a momentum and zero dampening");
                _defaults = new Options { LearningRate = lr, InitialLearningRate = lr, momentum = momentum, dampening = dampening,
                    weight_decay = weight_decay, nesterov = nesterov, maximize = maximize };
                foreach (ParamGroup group in parameters) add_param_group(group);
            }

            public double Momentum
            {
                get => ((Options)_defaults).momentum!.Value;
                set => ((Options)_defaults).momentum = value;
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
                double lr = options.LearningRate!.Value, momentum = options.momentum!.Value, decay = options.weight_decay!.Value;
                foreach (Parameter parameter in group.Parameters)
                {
                    var state = (State)_state[parameter.Handle];
                    if (parameter.grad is not { } gradient) continue;
                    if (decay != 0) gradient = gradient.add(parameter, alpha: decay);
                    if (momentum != 0)
                    {
                        if (state.momentum_buffer is null) state.momentum_buffer = gradient.detach().clone().DetachFromDisposeScope();
                        else state.momentum_buffer.mul_(momentum).add_(gradient, alpha: 1 - options.dampening!.Value);
                        gradient = options.nesterov!.Value ? gradient.add(state.momentum_buffer, alpha: momentum) : state.momentum_buffer;
                    }
                    parameter.add_(gradient, alpha: options.maximize!.Value ? lr : -lr);
                }
            }

            /// <summary>The momentum of one parameter; null before its first step.</summary>
            public sealed class State(Parameter parameter) : OptimizerState(parameter), IDisposable
            {
                public Tensor? momentum_buffer;

                public override void Initialize(OptimizerOptions options)
                {
                    Dispose();
                    momentum_buffer = null;
                }

                public override void LoadStateDict(OptimizerState source)
                {
                    Dispose();
                    momentum_buffer = Copied(((State)source).momentum_buffer, _parameter.device);
                }

                public override bool ApproximatelyEquals(OptimizerState other) =>
                    other is State state && (momentum_buffer is null ? state.momentum_buffer is null : state.momentum_buffer is not null && momentum_buffer.allclose(state.momentum_buffer));

                public override void to(Device device) => momentum_buffer = Moved(momentum_buffer, device);

                public void Dispose() => momentum_buffer?.Dispose();
            }

            /// <summary>The options of a group.</summary>
            public class Options : OptimizerOptions
            {
                public double? momentum;
                public double? dampening;
                public double? weight_decay;
                public bool? nesterov;
                public bool? maximize;

                public override void LoadStateDict(OptimizerOptions source)
                {
                    base.LoadStateDict(source);
                    var other = (Options)source;
                    (momentum, dampening, weight_decay, nesterov, maximize) = (other.momentum, other.dampening, other.weight_decay,
                        other.nesterov, other.maximize);
                }

                internal void FillFrom(Options defaults)
                {
                    LearningRate ??= defaults.LearningRate;
                    momentum ??= defaults.momentum;
                    dampening ??= defaults.dampening;
                    weight_decay ??= defaults.weight_decay;
                    nesterov ??= defaults.nesterov;
                    maximize ??= defaults.maximize;
                }
            }

            /// <summary>Parameters with options of their own.</summary>
            public class ParamGroup : ParamGroup<Options>, optim.IMomentum
            {
                public ParamGroup()
                {
                }

                public ParamGroup(IEnumerable<Parameter> parameters, Options options)
                    : base(parameters, options)
                {
                }

                public ParamGroup(IEnumerable<Parameter> parameters, double lr = 1e-3, double momentum = 0, double dampening = 0,
                    double weight_decay = 0, bool nesterov = false, bool maximize = false)
                    : base(parameters, new Options { LearningRate = lr, momentum = momentum, dampening = dampening,
                        weight_decay = weight_decay, nesterov = nesterov, maximize = maximize })
                {
                }

                public double Momentum
                {
                    get => Options.momentum!.Value;
                    set => Options.momentum = value;
                }
            }
        }
    }
}
