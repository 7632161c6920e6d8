using TorchSharp.Native;

namespace TorchSharp;

// Random numbers, as methods of a tensor.
public static partial class torch
{
    public partial class Tensor
    {
        public Tensor normal_(double mean = 0, double std = 1, Generator? generator = null) =>
            Operators.normal_.Change(this, mean, std, generator);
        public Tensor uniform_(double from, double to, Generator? generator = null) =>
            Operators.uniform_.Change(this, from, to, generator);
        public Tensor exponential_(double lambda = 1, Generator? generator = null) =>
            Operators.exponential_.Change(this, lambda, generator);

        public Tensor bernoulli(Generator? generator = null) => Operators.bernoulli.Call(this, generator);
        public Tensor bernoulli_(Tensor p, Generator? generator = null) => Operators.bernoulli__Tensor.Change(this, p, generator);
        public Tensor bernoulli_(double p = 0.5, Generator? generator = null) => Operators.bernoulli__float.Change(this, p, generator);

        public Tensor multinomial(long num_samples, bool replacement = false, Generator? generator = null) =>
            Operators.multinomial.Call(this, num_samples, replacement, generator);
        public Tensor random_(double from, double to, Generator? generator = null) =>
            Operators.random__from.Change(this, (long)from, (long)to, generator);
    }
}
