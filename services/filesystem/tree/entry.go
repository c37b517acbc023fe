// Package tree copies what a directory holds to a stream, and back into an empty directory. Neither
// follows links, nor leaves the directory, whatever others change in it meanwhile.
package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
)

// Format is the format of copies: a tar archive (pax) in which a directory follows what it holds.
const Format = "files-1"

// The kinds of what copies count.
const (
	CountFiles       = "files" // all names, but not the directory itself
	CountBytes       = "bytes" // in chunks that are not zero
	countDirectories = "directories"
	countSymlinks    = "symlinks"
	countHardLinks   = "hard_links" // further names of files
)

// Owner is the account that files belong to.
type Owner struct{ UID, GID uint32 }

// entry is a name in a copy.
type entry struct {
	name   string // "." is the directory itself
	kind   byte   // of tar
	mode   fs.FileMode
	time   time.Time
	link   string // where a link points
	size   int64
	sparse bool // has holes; the archive has its data with their places
	linked bool // may have further names
	attributes
}

// The keys of PAX records. That of attributes is GNU tar's.
const (
	attributeRecord = "SCHILY.xattr."
	// sparseRecord has the size of a file with holes. Its content in the archive is a list of an
	// offset, a length (8 bytes each, big endian) and data.
	sparseRecord = "CHANDLER.sparse"
	// linkedRecord marks a file that may have further names.
	linkedRecord = "CHANDLER.linked"
)

// A record's key cannot contain "=". GNU tar writes names like this.
var (
	encoded = strings.NewReplacer("%", "%25", "=", "%3D")
	decoded = strings.NewReplacer("%3D", "=", "%25", "%")
)

// header is the entry's in the archive, followed by so many bytes.
func (e entry) header(stored int64) *tar.Header {
	h := &tar.Header{
		Format: tar.FormatPAX, Typeflag: e.kind, Name: e.name, Linkname: e.link, Size: stored,
		Mode: int64(e.mode.Perm()), ModTime: e.time, PAXRecords: map[string]string{},
	}
	if e.kind == tar.TypeDir {
		h.Name += "/"
	}
	for name, value := range e.attributes {
		h.PAXRecords[attributeRecord+encoded.Replace(name)] = value
	}
	if e.sparse {
		h.PAXRecords[sparseRecord] = strconv.FormatInt(e.size, 10)
	}
	if e.linked && e.kind == tar.TypeReg {
		h.PAXRecords[linkedRecord] = "1"
	}
	return h
}

var errDamaged = errors.New("the copy is damaged")

// readEntry reads a header that entry.header made.
func readEntry(h *tar.Header) (entry, error) {
	e := entry{
		name: strings.TrimSuffix(h.Name, "/"), kind: h.Typeflag, mode: fs.FileMode(h.Mode & 0o777), time: h.ModTime, //nolint:gosec // nine bits
		link: h.Linkname, size: h.Size, attributes: attributes{},
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, attributeRecord); ok {
			e.attributes[decoded.Replace(name)] = value
		}
	}
	e.linked = h.PAXRecords[linkedRecord] != ""
	if size, ok := h.PAXRecords[sparseRecord]; ok {
		var err error
		if e.size, err = strconv.ParseInt(size, 10, 64); err != nil || e.size < 0 || e.kind != tar.TypeReg {
			return e, fmt.Errorf("%w: %s has an invalid size", errDamaged, quoted(e.name))
		}
		e.sparse = true
	}
	if !isLocal(e.name) || e.kind == tar.TypeLink && !isLocal(e.link) {
		return e, fmt.Errorf("%w: the name %s is not below the directory", errDamaged, quoted(e.name))
	}
	return e, nil
}

// isLocal says whether a path is one that a copy can contain.
func isLocal(name string) bool { return filepath.IsLocal(name) && path.Clean(name) == name }

// fields are what the digest of a copy depends on, with the hash of the content. Owners are the
// instance's, and which of a file's names comes first is chance.
func (e entry) fields(content string) []string {
	fields := []string{e.name, string(e.kind), e.link, content}
	if e.name != "." { // which has the rights that each instance's has
		fields = append(fields, e.mode.String())
	}
	if e.kind == tar.TypeReg {
		fields = append(fields, strconv.FormatInt(e.size, 10), e.time.UTC().Format(time.RFC3339Nano))
	}
	for _, name := range slices.Sorted(maps.Keys(e.attributes)) {
		fields = append(fields, name, e.attributes[name])
	}
	return fields
}

// tally is what a copy contains.
type tally struct {
	counts map[string]int64
	digest filesystem.Digest
}

func (t *tally) add(e entry, content string) {
	if e.name != "." {
		t.counts[CountFiles]++
	}
	switch e.kind {
	case tar.TypeDir:
		t.counts[countDirectories]++
	case tar.TypeSymlink:
		t.counts[countSymlinks]++
	}
	t.digest.Add(e.fields(content)...)
}

// addLink adds a further name of a file.
func (t *tally) addLink(name string, f linkedFile) {
	t.counts[countHardLinks]++
	f.entry.name = name
	t.add(f.entry, f.content)
}

// linkedFile is a file that may have further names.
type linkedFile struct {
	entry
	content string // its hash
}

func newTally() *tally {
	return &tally{counts: map[string]int64{CountFiles: 0, CountBytes: 0, countDirectories: 0, countSymlinks: 0, countHardLinks: 0}}
}

// contents describes the copy.
func (t *tally) contents() services.Contents {
	return services.Contents{Format: Format, Counts: t.counts, Digest: t.digest.String()}
}

// quoted is a tenant's name for an error.
func quoted(name string) string {
	const most = 100
	if len(name) > most {
		return strconv.Quote(name[:most]) + "…"
	}
	return strconv.Quote(name)
}
