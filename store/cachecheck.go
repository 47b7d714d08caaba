package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// A damaged bbolt file can do worse than panic: a wrong length in a page makes
// bbolt walk in circles or free billions of pages, until no memory is left,
// and nothing can recover from that. So the file is walked through once before
// its first transaction, by code that believes no number in it.
//
// The format, in native byte order:
//
//	page     id u64, flags u16, count u16, overflow u32, then what it holds
//	meta     magic u32, version u32, page size u32, flags u32, root bucket u64,
//	         sequence u64, freelist u64, pages in use u64, transaction u64, FNV-1a u64
//	branch   elements of: position u32, key size u32, page u64
//	leaf     elements of: flags u32, position u32, key size u32, value size u32
//	freelist page ids u64; if count is 0xffff the first of them is the count
//	bucket   root page u64, sequence u64; if the root is 0 its page follows
const (
	pageHeader  = 16
	elementSize = 16
	bucketSize  = 16
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	elementIsBucket = 0x01
)

// A walk goes through a file's pages.
type walk struct {
	file     io.ReaderAt
	pageSize uint64
	pages    uint64 // in use
	seen     []bool // by page
	page     []byte // what was read last
}

// checkPages tells whether all pages of the file, size bytes long, fit
// together.
func checkPages(file io.ReaderAt, size int64, pageSize int) error {
	root, freelist, pages, err := newestMeta(file, pageSize)
	if err != nil {
		return err
	}
	if pages < 4 || pages > uint64(size)/uint64(pageSize) {
		return fmt.Errorf("%d pages do not fit into %d bytes", pages, size)
	}
	w := &walk{file: file, pageSize: uint64(pageSize), pages: pages, seen: make([]bool, pages)}
	w.seen[0], w.seen[1] = true, true // the metas
	if err := w.freelist(freelist); err != nil {
		return err
	}
	return w.tree(root, elementIsBucket)
}

// newestMeta finds the meta page in force: of two, the one of the later
// transaction, if its checksum is right.
func newestMeta(file io.ReaderAt, pageSize int) (root, freelist, pages uint64, err error) {
	var newest uint64
	err = fmt.Errorf("neither meta page is valid")
	for i := range 2 {
		b := make([]byte, pageHeader+metaSize)
		if _, readErr := file.ReadAt(b, int64(i*pageSize)); readErr != nil {
			continue
		}
		m := b[pageHeader:]
		h := fnv.New64a()
		h.Write(m[:metaSize-8])
		if u32(m, 0) != metaMagic || u32(m, 4) != metaVersion || u32(m, 8) != uint32(pageSize) || u64(m, 56) != h.Sum64() {
			continue
		}
		if tx := u64(m, 48); err != nil || tx > newest {
			newest, err = tx, nil
			root, freelist, pages = u64(m, 16), u64(m, 32), u64(m, 40)
		}
	}
	return root, freelist, pages, err
}

// claim reads page id with its overflow, which nothing else may have named. The
// page is good until the next one is claimed.
func (w *walk) claim(id uint64) (flags uint16, count int, page []byte, err error) {
	if id >= w.pages {
		return 0, 0, nil, fmt.Errorf("page %d of %d", id, w.pages)
	}
	page, err = w.read(id, 1)
	if err != nil {
		return 0, 0, nil, err
	}
	last := id + uint64(u32(page, 12))
	if u64(page, 0) != id || last >= w.pages {
		return 0, 0, nil, fmt.Errorf("page %d says that it is page %d to %d of %d", id, u64(page, 0), last, w.pages)
	}
	for p := id; p <= last; p++ {
		if err := w.mark(p); err != nil {
			return 0, 0, nil, err
		}
	}
	if last > id {
		page, err = w.read(id, last-id+1)
	}
	return u16(page, 8), int(u16(page, 10)), page, err
}

// read reads n pages from id on, in place of what was read before: a file has
// thousands of pages.
func (w *walk) read(id, n uint64) ([]byte, error) {
	size := int(n * w.pageSize)
	w.page = slices.Grow(w.page[:0], size)[:size]
	_, err := w.file.ReadAt(w.page, int64(id*w.pageSize))
	return w.page, err
}

func (w *walk) mark(id uint64) error {
	if id >= w.pages || w.seen[id] {
		return fmt.Errorf("page %d is used twice, or not there", id)
	}
	w.seen[id] = true
	return nil
}

func (w *walk) freelist(id uint64) error {
	flags, count, page, err := w.claim(id)
	if err != nil {
		return err
	}
	ids := page[pageHeader:]
	n := uint64(count)
	if count == 0xffff {
		n, ids = u64(ids, 0), ids[8:]
	}
	if flags != flagFreelist || n > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is no freelist", id)
	}
	for i := range int(n) {
		if err := w.mark(u64(ids, 8*i)); err != nil {
			return err
		}
	}
	return nil
}

// tree checks the pages from id down. All its leaf elements have the flags of
// kind: those of the root are buckets, those of a bucket are not.
func (w *walk) tree(id uint64, kind uint32) error {
	flags, count, page, err := w.claim(id)
	if err != nil {
		return err
	}
	if flags == flagBranch || kind == elementIsBucket {
		page = bytes.Clone(page) // others are claimed on the way through it
	}
	switch flags {
	case flagLeaf:
		return w.leaf(page, count, kind)
	case flagBranch:
	default:
		return fmt.Errorf("page %d is neither branch nor leaf", id)
	}
	if count == 0 {
		return fmt.Errorf("page %d is an empty branch", id)
	}
	var before []byte
	for i := range count {
		at := pageHeader + i*elementSize
		if at+elementSize > len(page) {
			return fmt.Errorf("page %d has %d elements", id, count)
		}
		key, err := within(page, at+int(u32(page, at)), int(u32(page, at+4)))
		if err != nil || i > 0 && bytes.Compare(before, key) >= 0 {
			return fmt.Errorf("page %d: wrong key", id)
		}
		before = key
		if err := w.tree(u64(page, at+8), kind); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks a leaf page, or the page that lies in a small bucket's value.
func (w *walk) leaf(page []byte, count int, kind uint32) error {
	var before []byte
	for i := range count {
		at := pageHeader + i*elementSize
		if at+elementSize > len(page) {
			return fmt.Errorf("a leaf has %d elements", count)
		}
		pos, keySize, valueSize := at+int(u32(page, at+4)), int(u32(page, at+8)), int(u32(page, at+12))
		key, err := within(page, pos, keySize)
		if err != nil || u32(page, at) != kind || i > 0 && bytes.Compare(before, key) >= 0 {
			return fmt.Errorf("a leaf has a wrong key")
		}
		before = key
		value, err := within(page, pos+keySize, valueSize)
		if err != nil {
			return err
		}
		if kind == elementIsBucket {
			if err := w.bucket(value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walk) bucket(value []byte) error {
	if len(value) < bucketSize {
		return fmt.Errorf("a bucket of %d bytes", len(value))
	}
	if root := u64(value, 0); root != 0 {
		return w.tree(root, 0)
	}
	inline := value[bucketSize:]
	if len(inline) < pageHeader || u16(inline, 8) != flagLeaf {
		return fmt.Errorf("a bucket without its page")
	}
	return w.leaf(inline, int(u16(inline, 10)), 0)
}

// within gives n bytes of page from at on, if they are there.
func within(page []byte, at, n int) ([]byte, error) {
	if at < pageHeader || n < 0 || at > len(page) || n > len(page)-at {
		return nil, fmt.Errorf("%d bytes at %d of a page of %d", n, at, len(page))
	}
	return page[at : at+n], nil
}

func u16(b []byte, at int) uint16 { return binary.NativeEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
func u64(b []byte, at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
