using TorchSharp.Modules;

namespace TorchSharp;

// What a module holds, by name: in the order of registration, its own first, then its submodules'. A tensor that is held
// twice is named once.
public static partial class torch
{
    public static partial class nn
    {
        public partial class Module
        {
            public virtual IEnumerable<(string name, Parameter parameter)> named_parameters(bool recurse = true)
            {
                var seen = new HashSet<IntPtr>();
                foreach ((string name, Parameter parameter) in _internal_params)
                    if (!parameter.IsInvalid && seen.Add(parameter.Handle)) yield return (name, parameter);
                if (!recurse) yield break;
                foreach ((string child, Module module) in _internal_submodules)
                    foreach ((string name, Parameter parameter) in module.named_parameters(true))
                        if (seen.Add(parameter.Handle)) yield return ($"{child}.{name}", parameter);
            }

            public virtual IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool include_nonpersistent = true)
            {
                var seen = new HashSet<IntPtr>();
                foreach ((string name, (Tensor buffer, bool persistent)) in _internal_buffers)
                    if (persistent && !buffer.IsInvalid && seen.Add(buffer.Handle)) yield return (name, buffer);
                if (!recurse) yield break;
                foreach ((string child, Module module) in _internal_submodules)
                    foreach ((string name, Tensor buffer) in module.named_buffers(true, include_nonpersistent))
                        if (seen.Add(buffer.Handle)) yield return ($"{child}.{name}", buffer);
            }

            public virtual IEnumerable<(string name, Module module)> named_children() => _internal_submodules;

            public virtual IEnumerable<(string name, Module module)> named_modules()
            {
                foreach ((string name, Module module) in _internal_submodules) yield return (name, module);
                foreach ((string child, Module module) in _internal_submodules)
                    foreach ((string name, Module inner) in module.named_modules()) yield return ($"{child}.{name}", inner);
            }

            public virtual IEnumerable<Parameter> parameters(bool recurse = true) =>
                named_parameters(recurse).Select(named => named.parameter);

            public virtual IEnumerable<Tensor> buffers(bool recurse = true, bool include_nonpersistent = true) =>
                named_buffers(recurse, include_nonpersistent).Select(named => named.buffer);

            public virtual IEnumerable<Module> modules() => named_modules().Select(named => named.module);

            public virtual IEnumerable<Module> children() => named_children().Select(named => named.module);

            public virtual bool has_parameter(string target) => get_parameter(target) is not null;

            public virtual bool has_buffer(string target) => get_buffer(target) is not null;

            public virtual Parameter? get_parameter(string target) =>
                _internal_params.TryGetValue(target, out Parameter? parameter) ? parameter : Below(target, (module, rest) =>
                    module.get_parameter(rest));

            public virtual Tensor? get_buffer(string target) =>
                _internal_buffers.TryGetValue(target, out (Tensor Buffer, bool) held) ? held.Buffer : Below(target, (module, rest) =>
                    module.get_buffer(rest));

            public virtual Dictionary<string, Tensor> state_dict(Dictionary<string, Tensor>? destination = null, string? prefix = null)
            {
                destination ??= [];
                string start = string.IsNullOrEmpty(prefix) ? string.Empty : prefix + ".";
                foreach ((string name, Parameter parameter) in named_parameters()) destination.TryAdd(start + name, parameter);
                foreach ((string name, Tensor buffer) in named_buffers(include_nonpersistent: false)) destination.TryAdd(start + name,
                    buffer);
                foreach ((string name, Module module) in _internal_submodules) module.state_dict(destination, start + name);
                return destination;
            }

            /// <summary>Copies values in, by name. Strictly: both sides must have the same names.</summary>
            public virtual (IList<string> missing_keys, IList<string> unexpected_keyes) load_state_dict(Dictionary<string, Tensor> source,
                bool strict = true, IList<string>? skip = null)
            {
                Dictionary<string, Tensor> destination = state_dict();
                bool Counts(string key) => skip is null || !skip.Contains(key);
                List<string> missing = destination.Keys.Where(key => Counts(key) && !source.ContainsKey(key)).ToList();
                List<string> unexpected = source.Keys.Where(key => Counts(key) && !destination.ContainsKey(key)).ToList();
                if (strict && missing.Count + unexpected.Count > 0)
                    throw new InvalidOperationException("The loaded state_dict is not identical to the target dictionary.");
                using IDisposable unrecorded = no_grad();
                foreach ((string key, Tensor value) in source)
                    if (Counts(key) && destination.TryGetValue(key, out Tensor? target)) target.copy_(value);
                return (missing, unexpected);
            }

            /// <summary>What the child that a dotted name begins with has under the rest of the name.</summary>
            private T? Below<T>(string target, Func<Module, string, T?> find)
                where T : class
            {
                int dot = target.IndexOf('.');
                return dot > 0 && _internal_submodules.TryGetValue(target[..dot], out Module? child) ? find(child,
                    target[(dot + 1)..]) : null;
            }
        }
    }
}
