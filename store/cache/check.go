package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
)

// A damaged bbolt file can do worse than panic: a wrong length in a page makes
// bbolt walk in circles or free billions of pages until no memory is left, and
// the process cannot recover from that. So this code, which trusts no number in
// the file, walks through all of it before bbolt maps it.
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

// A walk goes through a file's pages, each of them once.
type walk struct {
	file     []byte
	pageSize uint64
	pages    uint64 // in use
	seen     []bool // by page
}

// fault ends the walk by a panic, as bbolt ends its own. guard makes an error of it.
func fault(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// checkPages checks that all pages of a file fit together. A file that was written
// with other pages than this machine has is not one of ours.
func checkPages(file []byte) {
	size := uint64(os.Getpagesize())
	var m meta // the one that bbolt will use: of two valid ones, that of the later transaction
	for _, at := range []uint64{0, size} {
		next, ok := readMeta(file, at)
		switch {
		case ok && next.pageSize != size:
			fault("a page size of %d bytes", next.pageSize)
		case ok && next.tx >= m.tx:
			m = next
		}
	}
	if m.pages < 4 || m.pages > uint64(len(file))/size {
		fault("no valid meta page, or %d pages in %d bytes", m.pages, len(file))
	}
	w := &walk{file: file, pageSize: size, pages: m.pages, seen: make([]bool, m.pages)}
	w.seen[0], w.seen[1] = true, true // the metas
	w.freelist(m.freelist)
	w.tree(m.root, elementIsBucket)
}

// A meta is what a meta page says.
type meta struct{ pageSize, root, freelist, pages, tx uint64 }

// readMeta reads the meta page at an offset, and reports whether bbolt would
// believe it.
func readMeta(file []byte, at uint64) (meta, bool) {
	if uint64(len(file)) < at+pageHeader+metaSize {
		return meta{}, false
	}
	b := file[at+pageHeader:][:metaSize]
	h := fnv.New64a()
	h.Write(b[:metaSize-8])
	if u32(b, 0) != metaMagic || u32(b, 4) != metaVersion || u64(b, 56) != h.Sum64() {
		return meta{}, false
	}
	return meta{uint64(u32(b, 8)), u64(b, 16), u64(b, 32), u64(b, 40), u64(b, 48)}, true
}

// claim returns page id with its overflow. No other page can claim any of it.
func (w *walk) claim(id uint64) []byte {
	if id >= w.pages {
		fault("page %d of %d", id, w.pages)
	}
	page := w.file[id*w.pageSize:]
	last := id + uint64(u32(page, 12))
	if u64(page, 0) != id || last >= w.pages {
		fault("page %d says that it is page %d to %d of %d", id, u64(page, 0), last, w.pages)
	}
	for p := id; p <= last; p++ {
		w.mark(p)
	}
	return page[:(last-id+1)*w.pageSize]
}

func (w *walk) mark(id uint64) {
	if id >= w.pages || w.seen[id] {
		fault("page %d is used twice, or not there", id)
	}
	w.seen[id] = true
}

func (w *walk) freelist(id uint64) {
	page := w.claim(id)
	ids, n := page[pageHeader:], uint64(u16(page, 10))
	if n == 0xffff {
		n, ids = u64(ids, 0), ids[8:]
	}
	if u16(page, 8) != flagFreelist || n > uint64(len(ids)/8) {
		fault("page %d is not a freelist", id)
	}
	for i := range int(n) {
		w.mark(u64(ids, 8*i))
	}
}

// tree checks the pages from id down, whose leaf elements have the flags of kind:
// those of the root are buckets, those of a bucket are not.
func (w *walk) tree(id uint64, kind uint32) {
	page := w.claim(id)
	flags := u16(page, 8)
	if flags != flagLeaf && (flags != flagBranch || u16(page, 10) == 0) {
		fault("page %d is neither leaf nor branch", id)
	}
	w.elements(id, page, kind)
}

// elements checks what is in a leaf or a branch, and the pages that it names.
func (w *walk) elements(id uint64, page []byte, kind uint32) {
	var before []byte
	isLeaf := u16(page, 8) == flagLeaf
	for i := range int(u16(page, 10)) {
		at := pageHeader + i*elementSize
		if at+elementSize > len(page) {
			fault("page %d: too many elements", id)
		}
		element := page[at:]
		start, keySize, valueSize := uint64(u32(element, 0)), uint64(u32(element, 4)), uint64(0)
		if isLeaf {
			if u32(element, 0) != kind {
				fault("page %d: an element of another kind", id)
			}
			start, keySize, valueSize = keySize, uint64(u32(element, 8)), uint64(u32(element, 12))
		}
		end := start + keySize + valueSize
		if end > uint64(len(element)) {
			fault("page %d: an element outside its page", id)
		}
		key, value := element[start:start+keySize], element[start+keySize:end]
		if i > 0 && bytes.Compare(before, key) >= 0 {
			fault("page %d: keys out of order", id)
		}
		before = key
		switch {
		case !isLeaf:
			w.tree(u64(element, 8), kind)
		case kind == elementIsBucket:
			w.bucket(id, value)
		}
	}
}

// bucket checks a bucket's pages, or the page inside a small bucket's value.
func (w *walk) bucket(id uint64, value []byte) {
	if len(value) < bucketSize {
		fault("page %d: a bucket of %d bytes", id, len(value))
	}
	if root := u64(value, 0); root != 0 {
		w.tree(root, 0)
		return
	}
	inline := value[bucketSize:]
	if len(inline) < pageHeader || u16(inline, 8) != flagLeaf {
		fault("page %d: a bucket without its page", id)
	}
	w.elements(id, inline, 0)
}

func u16(b []byte, at int) uint16 { return binary.NativeEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
func u64(b []byte, at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
