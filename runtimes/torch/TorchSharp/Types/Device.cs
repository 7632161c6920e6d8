using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    public static readonly Device CPU = new(DeviceType.CPU);
    public static readonly Device META = new(DeviceType.META);

    private static Device? s_cuda;
    private static Device s_default = CPU;

    public static Device CUDA => s_cuda ??= InitializeDevice(new Device(DeviceType.CUDA));

    public static Device device(string description) => InitializeDevice(new Device(description));

    public static Device device(string deviceType, int index = -1) => InitializeDevice(new Device(deviceType, index));

    public static Device device(DeviceType deviceType, int index = -1) => InitializeDevice(new Device(deviceType, index));

    public static Device device(int index) => new(DeviceType.CUDA, index);

    public static Device get_default_device() => s_default;

    public static void set_default_device(Device device) => s_default = InitializeDevice(device);

    public static void set_default_device(string device) => set_default_device(new Device(device));

    /// <summary>The device, or the default device for none; makes sure that it can be used.</summary>
    public static Device InitializeDevice(Device? device)
    {
        device ??= s_default;
        InitializeDeviceType(device.type);
        return device;
    }

    /// <exception cref="InvalidOperationException">The machine has no such device.</exception>
    public static void InitializeDeviceType(DeviceType deviceType)
    {
        if (!TryInitializeDeviceType(deviceType))
            throw new InvalidOperationException($"Torch device type {deviceType} did not initialise on the current machine.");
    }

    public static bool TryInitializeDeviceType(DeviceType deviceType) => deviceType switch
    {
        DeviceType.CPU or DeviceType.META => true,
        DeviceType.CUDA => cuda.is_available(),
        _ => false,
    };

    public static bool cuda_is_available() => cuda.is_available();

    /// <summary>A kind of device and, where there are several of the kind, which (-1: the current one).</summary>
    public class Device
    {
        public Device(DeviceType deviceType, int index = -1)
        {
            type = deviceType;
            this.index = index;
        }

        /// <summary>From "cpu", "cuda" or "cuda:1".</summary>
        public Device(string description)
        {
            string[] parts = description.Split(':');
            type = Enum.Parse<DeviceType>(parts[0], ignoreCase: true);
            index = parts.Length > 1 ? int.Parse(parts[1]) : -1;
        }

        public Device(string deviceType, int index = -1)
            : this(Enum.Parse<DeviceType>(deviceType, ignoreCase: true), index)
        {
        }

        public Device(int index)
            : this(DeviceType.CUDA, index)
        {
        }

        public DeviceType type { get; }

        public int index { get; }

        public static implicit operator Device(string description) => new(description);

        public override string ToString()
        {
            string name = type.ToString().ToLowerInvariant();
            return type == DeviceType.CPU || index == -1 ? name : $"{name}:{index}";
        }
    }

    /// <summary>CUDA devices, where libtorch was built with CUDA.</summary>
    public static partial class cuda
    {
        public static bool is_available() => device_count() > 0;

        public static bool is_cudnn_available() => NativeMethods.sapo_cuda_has_cudnn() != 0;

        public static int device_count() => NativeMethods.sapo_cuda_devices();

        public static unsafe void manual_seed(long seed)
        {
            if (is_available()) NativeMethods.Check(NativeMethods.sapo_cuda_seed(seed));
        }

        public static unsafe void manual_seed_all(long seed)
        {
            if (is_available()) NativeMethods.Check(NativeMethods.sapo_cuda_seed_all(seed));
        }

        /// <summary>Waits until the device has done all that was asked of it.</summary>
        public static unsafe void synchronize(Device? device = null)
        {
            InitializeDeviceType(DeviceType.CUDA);
            NativeMethods.Check(NativeMethods.sapo_cuda_synchronize(device?.index ?? -1));
        }
    }

    /// <summary>Switches of the libraries beneath libtorch.</summary>
    public static partial class backends
    {
        /// <summary>Switches of CUDA's libraries.</summary>
        public static partial class cuda
        {
            /// <summary>Switches of matrix products.</summary>
            public static partial class matmul
            {
                /// <summary>Whether float32 products may use TF32 (10 bits of fraction) on CUDA.</summary>
                public static unsafe bool allow_tf32
                {
                    get => NativeMethods.sapo_tf32_matmul() != 0;
                    set => NativeMethods.Check(NativeMethods.sapo_set_tf32_matmul(value ? 1 : 0));
                }
            }
        }

        /// <summary>Switches of cuDNN.</summary>
        public static partial class cudnn
        {
            /// <summary>Whether float32 convolutions may use TF32 (10 bits of fraction) on CUDA.</summary>
            public static unsafe bool allow_tf32
            {
                get => NativeMethods.sapo_tf32_cudnn() != 0;
                set => NativeMethods.Check(NativeMethods.sapo_set_tf32_cudnn(value ? 1 : 0));
            }
        }
    }
}
