using System.Collections;
using System.Runtime.CompilerServices;
using static TorchSharp.torch;

namespace TorchSharp
{
    namespace Modules
    {
        /// <summary>A list of modules, registered by number.</summary>
        public class ModuleList<T> : nn.Module, IList<T>
            where T : nn.Module
        {
            private readonly List<T> _modules = [];

            public ModuleList(params T[] modules)
                : base(nameof(ModuleList<T>)) => extend(modules);

            public int Count => _modules.Count;

            public bool IsReadOnly => false;

            public T this[int index]
            {
                get => _modules[index];
                set
                {
                    _modules[index] = value;
                    RegisterComponents();
                }
            }

            public void append(params T[] parameters) => extend(parameters);

            public void extend(IEnumerable<T> modules)
            {
                foreach (T module in modules) Add(module);
            }

            public void Add(T item)
            {
                _modules.Add(item);
                RegisterComponents();
            }

            public void Insert(int index, T item)
            {
                _modules.Insert(index, item);
                RegisterComponents();
            }

            public bool Remove(T item)
            {
                bool removed = _modules.Remove(item);
                RegisterComponents();
                return removed;
            }

            public void RemoveAt(int index)
            {
                _modules.RemoveAt(index);
                RegisterComponents();
            }

            public void Clear()
            {
                _modules.Clear();
                RegisterComponents();
            }

            public bool Contains(T item) => _modules.Contains(item);

            public int IndexOf(T item) => _modules.IndexOf(item);

            public void CopyTo(T[] array, int arrayIndex) => _modules.CopyTo(array, arrayIndex);

            public IEnumerator<T> GetEnumerator() => _modules.GetEnumerator();

            IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

            /// <summary>The register always says what the list holds.</summary>
            protected override void RegisterComponents()
            {
                ClearModules();
                for (int i = 0; i < _modules.Count; i++) register_module(i.ToString(), _modules[i]);
            }
        }

        /// <summary>Modules that are called one after the other.</summary>
        public sealed class Sequential : nn.Module<Tensor, Tensor>
        {
            private readonly List<nn.Module<Tensor, Tensor>> _modules = [];

            public Sequential(params nn.Module<Tensor, Tensor>[] modules)
                : base(nameof(Sequential))
            {
                foreach (nn.Module<Tensor, Tensor> module in modules) append(module);
            }

            public Sequential(params (string name, nn.Module<Tensor, Tensor> submodule)[] modules)
                : base(nameof(Sequential))
            {
                foreach ((string name, nn.Module<Tensor, Tensor> module) in modules) append(name, module);
            }

            public int Count => _modules.Count;

            [IndexerName("SequentialItems")]
            public nn.IModule<Tensor, Tensor> this[int index] => _modules[index];

            public Sequential append(nn.IModule<Tensor, Tensor> module) => append(_modules.Count.ToString(), module);

            public Sequential append(string name, nn.IModule<Tensor, Tensor> module)
            {
                var added = (nn.Module<Tensor, Tensor>)module;
                register_module(name, added);
                _modules.Add(added);
                return this;
            }

            /// <summary>Results in between are disposed at once.</summary>
            public override Tensor forward(Tensor tensor)
            {
                using DisposeScope scope = NewDisposeScope();
                Tensor result = _modules.Count == 0 ? tensor.alias() : _modules.Aggregate(tensor, (value, module) => module.call(value));
                return result.MoveToOuterDisposeScope();
            }
        }
    }

    public static partial class torch
    {
        public static partial class nn
        {
            public static Modules.ModuleList<T> ModuleList<T>(params T[] modules)
                where T : Module => new(modules);

            public static Modules.Sequential Sequential(params (string name, Module<Tensor, Tensor> submodule)[] modules) => new(modules);

            public static Modules.Sequential Sequential(params Module<Tensor, Tensor>[] modules) => new(modules);

            public static Modules.Sequential Sequential(IEnumerable<Module<Tensor, Tensor>> modules) => new(modules.ToArray());
        }
    }
}
