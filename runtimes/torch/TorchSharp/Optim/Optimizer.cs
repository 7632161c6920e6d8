using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp
{
    // Optimizers: groups of parameters with options, and a state per parameter, found by its handle.
    public static partial class torch
    {
        /// <summary>Optimizers.</summary>
        public static partial class optim
        {
            /// <summary>Has a learning rate that can be changed.</summary>
            public interface ILearningRateController
            {
                double LearningRate { get; set; }

                double InitialLearningRate { get; set; }
            }

            /// <summary>Has decay rates of two moments.</summary>
            public interface IBetas
            {
                (double, double) Betas { get; set; }
            }

            /// <summary>Has a momentum.</summary>
            public interface IMomentum
            {
                double Momentum { get; set; }
            }

            /// <summary>Changes parameters by their gradients.</summary>
            public abstract class Optimizer : IDisposable
            {
                protected IList<ParamGroup> _parameter_groups = [];

                private protected Optimizer()
                {
                }

                ~Optimizer() => Dispose(false);

                public virtual IEnumerable<ILearningRateController> ParamGroups => _parameter_groups;

                public virtual IEnumerable<Parameter> parameters() => _parameter_groups.SelectMany(group => group.Parameters);

                public virtual void add_param_group(ParamGroup param_group) => _parameter_groups.Add(param_group);

                /// <summary>Sets the gradients that there are to zero.</summary>
                public virtual void zero_grad()
                {
                    foreach (Parameter parameter in parameters())
                    {
                        using Tensor? gradient = parameter.grad;
                        gradient?.zero_();
                    }
                }

                /// <summary>One step; the closure, if given, computes the loss again first.</summary>
                public virtual Tensor? step(Func<Tensor>? closure = null) =>
                    throw new NotSupportedException($"{GetType().Name} has no step.");

                public void Dispose()
                {
                    Dispose(true);
                    GC.SuppressFinalize(this);
                }

                protected virtual void Dispose(bool disposing)
                {
                }

                /// <summary>The options and states of all groups and parameters, in order; live, not copies.</summary>
                public class StateDictionary
                {
                    internal StateDictionary()
                    {
                    }

                    public List<OptimizerOptions> Options { get; } = [];

                    public List<OptimizerState> State { get; } = [];

                    public List<List<int>> StateIndexRef { get; } = [];
                }
            }
        }
    }

    namespace Modules
    {
        /// <summary>What the optimizers share.</summary>
        public abstract class OptimizerHelper : optim.Optimizer
        {
            protected OptimizerOptions _defaults = new();
            protected OrderedDict<IntPtr, OptimizerState> _state = new();

            public virtual optim.Optimizer.StateDictionary state_dict()
            {
                var state = new StateDictionary();
                foreach (ParamGroup group in _parameter_groups)
                {
                    state.Options.Add(group.Options);
                    state.StateIndexRef.Add([]);
                    foreach (Parameter parameter in group.Parameters)
                    {
                        state.StateIndexRef[^1].Add(state.State.Count);
                        state.State.Add(_state[parameter.Handle]);
                    }
                }
                return state;
            }

            public virtual void load_state_dict(optim.Optimizer.StateDictionary state_dict)
            {
                StateDictionary own = this.state_dict();
                if (state_dict.Options.Count != own.Options.Count) throw new ArgumentException("Invalid optimizer state -- different number of parameter groups.");
                if (state_dict.State.Count != own.State.Count) throw new ArgumentException("Invalid optimizer state -- different number of states.");
                for (int i = 0; i < own.Options.Count; i++)
                    if (!ReferenceEquals(own.Options[i], state_dict.Options[i])) own.Options[i].LoadStateDict(state_dict.Options[i]);
                for (int i = 0; i < own.State.Count; i++)
                    if (!ReferenceEquals(own.State[i], state_dict.State[i])) own.State[i].LoadStateDict(state_dict.State[i]);
            }

            public void to(Device device)
            {
                foreach (OptimizerState state in _state.Values) state.to(device);
            }

            public override void add_param_group(ParamGroup param_group) => base.add_param_group(param_group);

            public override IEnumerable<Parameter> parameters() => base.parameters();

            public override void zero_grad() => base.zero_grad();

            /// <summary>Runs the body over every group, unrecorded, in a dispose scope of its own.</summary>
            protected Tensor? _step<T>(Action<T> body, Func<Tensor>? loss_closure = null)
                where T : ParamGroup
            {
                Tensor? loss = null;
                if (loss_closure is not null)
                {
                    using IDisposable recorded = enable_grad();
                    loss = loss_closure();
                }
                using IDisposable unrecorded = no_grad();
                using DisposeScope scope = NewDisposeScope();
                foreach (ParamGroup group in _parameter_groups) body((T)group);
                return loss;
            }

            /// <summary>Disposes what is kept of each parameter.</summary>
            private protected void DisposeStates()
            {
                foreach (OptimizerState state in _state.Values) ((IDisposable)state).Dispose();
                _state.Clear();
            }

            /// <summary>Adds a group whose options are complete, with a fresh state for each parameter.</summary>
            private protected void Add(ParamGroup group, Func<Parameter, OptimizerState> stateOf)
            {
                group.Options.InitialLearningRate = group.LearningRate;
                _parameter_groups.Add(group);
                foreach (Parameter parameter in group.Parameters)
                {
                    OptimizerState state = stateOf(parameter);
                    _state[parameter.Handle] = state;
                    state.Initialize(group.Options);
                }
            }
        }

        /// <summary>The options of a group; null: the optimizer's own.</summary>
        public class OptimizerOptions
        {
            public double? LearningRate { get; set; }

            public double InitialLearningRate { get; set; }

            public virtual void LoadStateDict(OptimizerOptions source)
            {
                InitialLearningRate = source.InitialLearningRate;
                LearningRate = source.LearningRate;
            }
        }

        /// <summary>What an optimizer keeps of one parameter.</summary>
        public abstract class OptimizerState
        {
            protected Parameter _parameter;

            protected OptimizerState(Parameter parameter) => _parameter = parameter;

            public abstract void Initialize(OptimizerOptions options);

            /// <summary>Copies another's state.</summary>
            public abstract void LoadStateDict(OptimizerState source);

            public virtual bool ApproximatelyEquals(OptimizerState other) => false;

            public virtual void to(Device device)
            {
            }

            private protected static Tensor? Copied(Tensor? source, Device device) =>
                source?.to(device, copy: true).DetachFromDisposeScope();

            private protected static Tensor? Moved(Tensor? tensor, Device device) => tensor?.to(device).DetachFromDisposeScope();
        }

        /// <summary>Parameters with options of their own.</summary>
        public class ParamGroup : optim.ILearningRateController
        {
            public IEnumerable<Parameter> Parameters { get; set; } = [];

            public OptimizerOptions Options { get; set; } = null!;

            public double LearningRate
            {
                get => Options.LearningRate!.Value;
                set => Options.LearningRate = value;
            }

            public double InitialLearningRate
            {
                get => Options.InitialLearningRate;
                set => Options.InitialLearningRate = value;
            }
        }

        /// <summary>Parameters with options of a known type.</summary>
        public class ParamGroup<TOptions> : ParamGroup
            where TOptions : OptimizerOptions
        {
            public ParamGroup()
            {
            }

            public ParamGroup(IEnumerable<Parameter> parameters, TOptions? options = null)
            {
                Parameters = parameters;
                base.Options = options!;
            }

            public new TOptions Options
            {
                get => (TOptions)base.Options;
                set => base.Options = value;
            }
        }
    }
}
