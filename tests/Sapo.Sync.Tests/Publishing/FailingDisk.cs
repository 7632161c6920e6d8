namespace Sapo.Sync.Tests.Publishing;

/// <summary>A disk that is full: at once, or in the middle of the weights.</summary>
internal sealed class FailingDisk(long freeBytes, int bytesUntilFull = int.MaxValue) : Disk
{
    public override long FreeBytes(string folder) => freeBytes;

    public override Stream Create(string path) => new FillingStream(base.Create(path), bytesUntilFull);

    private sealed class FillingStream(Stream file, int room) : Stream
    {
        private int _room = room;

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => file.Length;

        public override long Position { get => file.Position; set => throw new NotSupportedException(); }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            if ((_room -= buffer.Length) < 0) throw new IOException("No space left on device");
            file.Write(buffer);
        }

        public override void Flush() => file.Flush();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing) file.Dispose();
            base.Dispose(disposing);
        }
    }
}
