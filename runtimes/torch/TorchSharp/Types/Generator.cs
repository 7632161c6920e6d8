using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    public static Generator manual_seed(long seed) => random.manual_seed(seed);

    public static Tensor get_rng_state() => random.get_rng_state();

    public static void set_rng_state(Tensor new_state) => random.set_rng_state(new_state);

    public static long initial_seed() => random.initial_seed();

    public static long seed() => random.seed();

    /// <summary>The default random number generators.</summary>
    public static class random
    {
        /// <summary>Seeds the default generators of all devices.</summary>
        public static unsafe Generator manual_seed(long seed)
        {
            NativeMethods.Check(NativeMethods.sapo_manual_seed(seed));
            return Generator.Default;
        }

        public static long seed()
        {
            using Generator generator = Generator.Default;
            return generator.seed();
        }

        public static long initial_seed()
        {
            using Generator generator = Generator.Default;
            return generator.initial_seed();
        }

        /// <summary>The whole state of the default CPU generator, as bytes.</summary>
        public static Tensor get_rng_state()
        {
            using Generator generator = Generator.Default;
            return generator.get_state();
        }

        public static void set_rng_state(Tensor new_state)
        {
            using Generator generator = Generator.Default;
            generator.set_state(new_state);
        }
    }

    /// <summary>A source of random numbers.</summary>
    public unsafe class Generator : IDisposable
    {
        public Generator(ulong seed = 0, Device? device = null)
        {
            this.device = device ?? CPU;
            NativeMethods.Check(NativeMethods.sapo_generator_create(seed, (int)this.device.type, this.device.index, out nint handle));
            Handle = handle;
        }

        private Generator(nint handle)
        {
            Handle = handle;
            device = CPU;
        }

        ~Generator() => Dispose(false);

        /// <summary>The default generator of the CPU.</summary>
        public static Generator Default
        {
            get
            {
                NativeMethods.Check(NativeMethods.sapo_generator_default((int)DeviceType.CPU, -1, out nint handle));
                return new Generator(handle);
            }
        }

        public IntPtr Handle { get; private set; }

        public Device device { get; }

        public Generator manual_seed(long seed)
        {
            NativeMethods.Check(NativeMethods.sapo_generator_set_seed(Handle, seed));
            return this;
        }

        /// <summary>Seeds with a number that nobody chose, and returns it.</summary>
        public long seed()
        {
            NativeMethods.Check(NativeMethods.sapo_generator_seed(Handle, out long seed));
            return seed;
        }

        public long initial_seed()
        {
            NativeMethods.Check(NativeMethods.sapo_generator_initial_seed(Handle, out long seed));
            return seed;
        }

        public Tensor get_state()
        {
            NativeMethods.Check(NativeMethods.sapo_generator_state(Handle, out nint state));
            return new Tensor(state);
        }

        public void set_state(Tensor value)
        {
            NativeMethods.Check(NativeMethods.sapo_generator_set_state(Handle, value.Handle));
            GC.KeepAlive(value);
        }

        public void Dispose()
        {
            Dispose(true);
            GC.SuppressFinalize(this);
        }

        protected virtual void Dispose(bool disposing)
        {
            if (Handle == 0) return;
            NativeMethods.sapo_generator_release(Handle);
            Handle = 0;
        }
    }
}
