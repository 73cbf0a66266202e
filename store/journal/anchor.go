package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"golang.org/x/sys/unix"
)

// anchorSize is that of the anchor file: magic, sequence number, hash, CRC-32C.
const anchorSize = 8 + 8 + len(hash{}) + 4

const anchorMagic = "tocsinA1"

// anchor notes the end of the chain in a file beside the database, after each transaction and
// without a sync. An anchor that is ahead of the database proves that synced events were lost:
// their frames were damaged or the database is an old copy. One that is behind, after a power
// failure, proves nothing. The file is locked while the journal is open.
type anchor struct {
	file *os.File
}

func openAnchor(path string) (*anchor, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // Nothing was written.
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &anchor{file: f}, nil
}

// read returns the noted end of the chain, and false if there is none that can be trusted.
func (a *anchor) read() (link, bool) {
	var b [anchorSize]byte
	if _, err := a.file.ReadAt(b[:], 0); err != nil {
		return link{}, false
	}
	body := b[:anchorSize-4]
	if string(b[:8]) != anchorMagic ||
		binary.BigEndian.Uint32(b[anchorSize-4:]) != anchorSum(body) {
		return link{}, false
	}
	return link{seq: int64(binary.BigEndian.Uint64(b[8:])), hash: hash(body[16:])}, true
}

// write notes that the chain ends with tip.
func (a *anchor) write(tip link) error {
	b := make([]byte, 0, anchorSize)
	b = append(b, anchorMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(tip.seq))
	b = append(b, tip.hash[:]...)
	b = binary.BigEndian.AppendUint32(b, anchorSum(b))
	_, err := a.file.WriteAt(b, 0)
	return err
}

func (a *anchor) close() error { return a.file.Close() }

func anchorSum(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}
