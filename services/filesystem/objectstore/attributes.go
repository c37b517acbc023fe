package objectstore

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// attributes are what a copy has of an object beside its content.
type attributes struct {
	key  string
	size int64
	// header is what applications set with these headers of HTTP, by name in lower case.
	header map[string]string
	// tags are in the form of the header x-amz-tagging.
	tags string
	// etag and modified are the gateway's, which a restored object has anew.
	etag, modified string
}

const metadata = "x-amz-meta-"

// isCopied says whether a header, in lower case, is an attribute that applications set (Amazon S3
// API reference, "PutObject").
func isCopied(name string) bool {
	switch name {
	case "content-type", "content-encoding", "content-language", "content-disposition",
		"cache-control", "expires", "x-amz-website-redirect-location":
		return true
	}
	return strings.HasPrefix(name, metadata)
}

// The keys of PAX records. Entries have numbers as names, because keys can be anything.
const (
	keyRecord      = "CHANDLER.key"
	headerRecord   = "CHANDLER.header."
	tagsRecord     = "CHANDLER.tags"
	etagRecord     = "CHANDLER.etag"
	modifiedRecord = "CHANDLER.modified"
)

// entry is the object's header in a copy.
func (a attributes) entry(number int64) *tar.Header {
	records := map[string]string{keyRecord: a.key, etagRecord: a.etag, modifiedRecord: a.modified}
	for name, value := range a.header {
		records[headerRecord+name] = value
	}
	if a.tags != "" {
		records[tagsRecord] = a.tags
	}
	return &tar.Header{
		Typeflag: tar.TypeReg, Name: fmt.Sprintf("objects/%d", number), Mode: 0o600, Size: a.size,
		Format: tar.FormatPAX, PAXRecords: records,
	}
}

// readEntry reads a header that entry made.
func readEntry(h *tar.Header) (attributes, error) {
	a := attributes{
		key: h.PAXRecords[keyRecord], size: h.Size, header: map[string]string{}, tags: h.PAXRecords[tagsRecord],
		etag: h.PAXRecords[etagRecord], modified: h.PAXRecords[modifiedRecord],
	}
	if h.Typeflag != tar.TypeReg || a.key == "" {
		return a, fmt.Errorf("the copy is damaged: entry %q is no object", h.Name)
	}
	for name, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(name, headerRecord); ok && isCopied(name) {
			a.header[name] = value
		}
	}
	return a, nil
}

// request returns the headers that give a new object the attributes.
func (a attributes) request() http.Header {
	h := http.Header{}
	for name, value := range a.header {
		h.Set(name, value)
	}
	if a.tags != "" {
		h.Set("X-Amz-Tagging", a.tags)
	}
	return h
}

// fields are what the digest of a copy depends on, with the hash of the content.
func (a attributes) fields(content []byte) []string {
	fields := []string{a.key, a.tags}
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		fields = append(fields, name, a.header[name])
	}
	return append(fields, string(content))
}

var (
	errDamaged = errors.New("the copy is damaged: an object's tags are invalid")
	errDiffers = errors.New("the copy is damaged: it does not contain what its description says")
)
