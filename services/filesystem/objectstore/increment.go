package objectstore

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// copyDetails are what later copies and restores need to know of a copy.
type copyDetails struct {
	// Began is when the copy began, by the gateway's clock. Zero: that is not known, and the copy
	// is no base.
	Began time.Time `json:"began,omitzero"`
	// Digest is that of the stream of an incremental copy. Others have it in Contents.
	Digest string `json:"digest,omitempty"`
}

// detailsOf reads the details of a copy, which those of older releases lack.
func detailsOf(c services.Contents) (d copyDetails, err error) {
	if len(c.Details) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(c.Details, &d); err != nil {
		return d, fmt.Errorf("the copy is damaged: its details are invalid: %w", err)
	}
	return d, nil
}

// state identifies a state of an object: its key, ETag, size, time of change, and all that
// applications set. Two contents have the same one only if a file in the gateway's folder was
// changed, and its time and size were not.
type state [16]byte

func (a attributes) state() (s state) {
	sum := sha256.New()
	for _, text := range append(a.fields(nil), a.etag, a.modified, strconv.FormatInt(a.size, 10)) {
		fmt.Fprintf(sum, "%d:%s", len(text), text)
	}
	copy(s[:], sum.Sum(nil))
	return s
}

// states are those that a copy has, with those of its bases to which it refers.
type states map[state]struct{}

// recent is how long before a copy began objects must have been changed last to be taken from
// it: times have whole seconds, and a file may be changed twice in one.
const recent = 3 * time.Second

// statesOf reads a base. It returns none if the copy that builds on it has to be complete.
func statesOf(ctx context.Context, base *services.BaseCopy) (states, error) {
	if base == nil || base.Contents.Format != copyFormat {
		return nil, nil
	}
	details, err := detailsOf(base.Contents)
	if err != nil || details.Began.IsZero() {
		return nil, nil //nolint:nilerr // it is no base, which is what the caller asks
	}
	found := states{}
	err = base.Read(ctx, func(r io.Reader) error {
		return eachEntry(r, func(h *tar.Header, content io.Reader) error {
			if isReferences(h) {
				return eachReference(h, content, func(r reference) error { found[r.State] = struct{}{}; return nil })
			}
			a, err := readEntry(h)
			if err == nil && a.changedBefore(details.Began.Add(-recent)) {
				found[a.state()] = struct{}{}
			}
			return err
		})
	})
	return found, err
}

// changedBefore is false if it is not known when the object was changed.
func (a attributes) changedBefore(t time.Time) bool {
	at, err := http.ParseTime(a.modified)
	return err == nil && at.Before(t)
}

// eachEntry calls do with each entry of an archive, which it reads to the end of r.
func eachEntry(r io.Reader, do func(h *tar.Header, content io.Reader) error) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return readFault(err)
		}
		if err := do(h, archive); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // its end says that it is complete
		return readFault(err)
	}
	return nil
}

// clock returns the gateway's time; zero if it does not say it.
func (c *Client) clock(ctx context.Context, bucket string) (time.Time, error) {
	query := url.Values{"list-type": {"2"}, "max-keys": {"1"}}
	header, err := c.exchange(ctx, Request{Method: http.MethodGet, Bucket: bucket, Query: query}, nil)
	if err != nil {
		return time.Time{}, c.Explain("list the bucket's objects", err)
	}
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // documented
	}
	return at.UTC(), nil
}

// reference stands for an object that is in a base. People read the key; the newest base that has
// it has the content.
type reference struct {
	Key   string `json:"key"`
	Size  int64  `json:"size"`
	State state  `json:"state"`
}

// MarshalText implements encoding.TextMarshaler.
func (s state) MarshalText() ([]byte, error) {
	return base64.RawStdEncoding.AppendEncode(nil, s[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *state) UnmarshalText(text []byte) error {
	decoded, err := base64.RawStdEncoding.DecodeString(string(text))
	if err != nil || copy(s[:], decoded) != len(s) || len(decoded) != len(s) {
		return errors.New("invalid state")
	}
	return nil
}

// fields are what the digest of a stream depends on.
func (r reference) fields() []string {
	return []string{"unchanged", strconv.FormatInt(r.Size, 10), string(r.State[:])}
}

// references are what an archive has of them, and those that are to be written next.
type references struct {
	objects, bytes int64
	entries        int
	next           bytes.Buffer
}

const (
	referencesName = "unchanged/"
	// referencesSize is from how many bytes on references are written, and maxReferences more
	// than an entry has then.
	referencesSize = 512 << 10
	maxReferences  = 1 << 20
)

func isReferences(h *tar.Header) bool {
	return h.Typeflag == tar.TypeReg && strings.HasPrefix(h.Name, referencesName)
}

// refer writes a reference to an object if the base has it as it is.
func (a *archive) refer(ctx context.Context, o Object) (done bool, err error) {
	if a.base == nil {
		return false, nil
	}
	now, err := a.client.attributesOf(ctx, a.bucket, o.Key)
	if err != nil {
		return false, nil //nolint:nilerr // who copies it sees what is wrong
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	r := reference{now.key, now.size, now.state()}
	if _, same := a.base[r.State]; !same {
		return false, nil
	}
	delete(a.base, r.State) // a key that is listed twice is not counted twice
	line, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	a.unchanged.next.Write(append(line, '\n'))
	a.unchanged.objects, a.unchanged.bytes = a.unchanged.objects+1, a.unchanged.bytes+r.Size
	a.digest.Add(r.fields()...)
	if a.unchanged.next.Len() < referencesSize {
		return true, nil
	}
	return true, a.flush()
}

// flush writes the references that were not written yet.
func (a *archive) flush() error {
	text := a.unchanged.next.Bytes()
	if len(text) == 0 || a.broken != nil {
		return a.broken
	}
	a.unchanged.entries++
	name := referencesName + strconv.Itoa(a.unchanged.entries)
	a.broken = a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(text)), Format: tar.FormatPAX})
	if a.broken == nil {
		_, a.broken = a.tar.Write(text)
	}
	a.unchanged.next.Reset()
	return a.broken
}

// eachReference reads an entry with references.
func eachReference(h *tar.Header, content io.Reader, do func(reference) error) error {
	if h.Size > maxReferences {
		return fmt.Errorf("the copy is damaged: entry %q has %d bytes", h.Name, h.Size)
	}
	lines := json.NewDecoder(content)
	for {
		var r reference
		err := lines.Decode(&r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || r.Size < 0 {
			return errors.Join(fmt.Errorf("the copy is damaged: entry %q has no references", h.Name), err)
		}
		if err := do(r); err != nil {
			return err
		}
	}
}
