package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/chandler-broker/chandler/services"
)

func own() Owner {
	return Owner{uint32(os.Getuid()), uint32(os.Getgid())} //nolint:gosec // of this process
}

func written(t *testing.T, dir string) ([]byte, services.Contents) {
	t.Helper()
	var stream bytes.Buffer
	contents, err := Write(t.Context(), dir, own(), &stream)
	if err != nil {
		t.Fatal(err)
	}
	return stream.Bytes(), contents
}

func read(t *testing.T, dir string, contents services.Contents, stream []byte) error {
	t.Helper()
	return Read(t.Context(), dir, own(), contents, bytes.NewReader(stream))
}

// archived is an archive with these entries, and the contents that would describe it.
func archived(t *testing.T, entries ...tar.Header) ([]byte, services.Contents) {
	t.Helper()
	var stream bytes.Buffer
	w := tar.NewWriter(&stream)
	for _, h := range entries {
		h.Format, h.Mode = tar.FormatPAX, 0o777
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = 4
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes(), services.Contents{Format: Format, Counts: map[string]int64{CountFiles: 100, CountBytes: 1 << 20}}
}

// No archive makes or changes anything outside of the directory, or what gives rights.
func TestHostileArchives(t *testing.T) {
	file, link, dir := byte(tar.TypeReg), byte(tar.TypeSymlink), byte(tar.TypeDir)
	for name, entries := range map[string][]tar.Header{
		"above":                     {{Typeflag: file, Name: "../victim"}},
		"above, in the middle":      {{Typeflag: file, Name: "a/../../victim"}},
		"absolute":                  {{Typeflag: file, Name: "/victim"}},
		"nothing":                   {{Typeflag: file, Name: "."}},
		"through a link":            {{Typeflag: link, Name: "a", Linkname: ".."}, {Typeflag: file, Name: "a/victim"}},
		"through an absolute link":  {{Typeflag: link, Name: "a", Linkname: "OUTSIDE"}, {Typeflag: file, Name: "a/victim"}},
		"a directory that's a link": {{Typeflag: link, Name: "a", Linkname: ".."}, {Typeflag: dir, Name: "a/"}},
		"over a link":               {{Typeflag: link, Name: "a", Linkname: "../victim"}, {Typeflag: file, Name: "a"}},
		"another name of a victim":  {{Typeflag: tar.TypeLink, Name: "a", Linkname: "../victim"}},
		"another name by a link":    {{Typeflag: link, Name: "a", Linkname: ".."}, {Typeflag: tar.TypeLink, Name: "b", Linkname: "a/victim"}},
		"another name of nothing":   {{Typeflag: tar.TypeLink, Name: "a", Linkname: "b"}},
		"a device":                  {{Typeflag: tar.TypeBlock, Name: "a"}},
		"a pipe":                    {{Typeflag: tar.TypeFifo, Name: "a"}},
		"the same file twice":       {{Typeflag: file, Name: "a"}, {Typeflag: file, Name: "a"}},
		"a capability":              {{Typeflag: file, Name: "a", PAXRecords: map[string]string{attributeRecord + "security.capability": "x"}}},
		"a trusted attribute":       {{Typeflag: file, Name: "a", PAXRecords: map[string]string{attributeRecord + "trusted.overlay.opaque": "y"}}},
		"a part beyond its end":     {{Typeflag: file, Name: "a", Size: 16, PAXRecords: map[string]string{sparseRecord: "10"}}},
		"a negative size":           {{Typeflag: file, Name: "a", PAXRecords: map[string]string{sparseRecord: "-1"}}},
		"more than described":       {{Typeflag: file, Name: "a", Size: 2 << 20}},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			inside := filepath.Join(outside, "inside")
			if err := errors.Join(os.Mkdir(inside, 0o700), os.WriteFile(filepath.Join(outside, "victim"), []byte("untouched"), 0o600)); err != nil {
				t.Fatal(err)
			}
			for i := range entries {
				entries[i].Linkname = strings.ReplaceAll(entries[i].Linkname, "OUTSIDE", outside)
			}
			stream, contents := archived(t, entries...)
			if err := read(t, inside, contents, stream); err == nil || errors.Is(err, errDiffers) && name != "more than described" {
				t.Errorf("was extracted: %v", err)
			}
			found, err := os.ReadDir(outside)
			content, readErr := os.ReadFile(filepath.Join(outside, "victim"))
			if len(found) != 2 || string(content) != "untouched" || err != nil || readErr != nil {
				t.Errorf("outside there is now: %v, %q, %v, %v", found, content, err, readErr)
			}
		})
	}
}

// What gives the rights of its owner to those who run it loses that.
func TestNoSetuid(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(from, "a"), []byte("x"), 0o700), os.Chmod(filepath.Join(from, "a"), 0o755|fs.ModeSetuid|fs.ModeSetgid)); err != nil { //nolint:gosec // is what is tested
		t.Fatal(err)
	}
	stream, contents := written(t, from)
	if err := read(t, to, contents, stream); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(to, "a"))
	if err != nil || info.Mode() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// While a tree is copied, a tenant exchanges directories and files in it for links that lead out.
func TestLinkRaces(t *testing.T) {
	outside := t.TempDir()
	inside := filepath.Join(outside, "inside")
	secret := strings.Repeat("secret", 100)
	steps := []error{
		os.MkdirAll(filepath.Join(inside, "d"), 0o700), os.MkdirAll(filepath.Join(outside, "far"), 0o700),
		os.WriteFile(filepath.Join(outside, "far", "f"), []byte(secret), 0o600), os.WriteFile(filepath.Join(inside, "d", "f"), []byte("mine"), 0o600),
		os.WriteFile(filepath.Join(inside, "f"), []byte("mine"), 0o600),
		os.Symlink(filepath.Join(outside, "far"), filepath.Join(inside, "link")), os.Symlink(filepath.Join(outside, "far", "f"), filepath.Join(inside, "flink")),
		unix.Mkfifo(filepath.Join(inside, "pipe"), 0o600),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	var swaps atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, pair := range [][2]string{{"d", "link"}, {"f", "flink"}, {"f", "pipe"}, {"d", "link"}, {"f", "pipe"}, {"f", "flink"}} {
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(inside, pair[0]), unix.AT_FDCWD, filepath.Join(inside, pair[1]), unix.RENAME_EXCHANGE)
				swaps.Add(1)
			}
		}
	}()
	end := time.Now().Add(2 * time.Second)
	copies := 0
	for ; time.Now().Before(end); copies++ {
		stream, _ := written(t, inside)
		if bytes.Contains(stream, []byte("secretsecret")) {
			t.Fatal("the copy contains a file from outside")
		}
	}
	stop()
	<-done
	t.Logf("%d copies, %d exchanges", copies, swaps.Load())
}

// Directories deeper than a path can be long, many files, and files with many names come back.
func TestLargeTree(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	in, err := os.OpenRoot(from)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1200 {
		if err := errors.Join(in.WriteFile(fmt.Sprint(i), fmt.Appendf(nil, "%d", i), 0o600), in.Link(fmt.Sprint(i), fmt.Sprint("again ", i))); err != nil {
			t.Fatal(err)
		}
	}
	for range 1500 {
		next, err := in.OpenRoot(".")
		if err := errors.Join(err, in.Mkdir("deep", 0o700), in.WriteFile("file", nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		_ = next.Close()
		if next, err = in.OpenRoot("deep"); err != nil {
			t.Fatal(err)
		}
		_ = in.Close()
		in = next
	}
	_ = in.Close()
	stream, contents := written(t, from)
	if want := int64(2400 + 3000); contents.Counts[CountFiles] != want || contents.Counts[countHardLinks] != 1200 {
		t.Errorf("counted %v, want %d", contents.Counts, want)
	}
	if err := read(t, to, contents, stream); err != nil {
		t.Fatal(err)
	}
	_, again := written(t, to)
	if diff := cmp.Diff(contents, again); diff != "" {
		t.Errorf("the copy of the copy (-want +got):\n%s", diff)
	}
}

// Holes of any size take no time, and stay holes.
func TestHoles(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	f, err := os.Create(filepath.Join(from, "f"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 8 << 40 // ext4 allows 16
	for _, at := range []int64{0, 100_000, 1 << 30, size - 5} {
		if _, err := f.WriteAt([]byte("data!"), at); err != nil {
			t.Skipf("the file system allows no such files: %v", err)
		}
	}
	if err := errors.Join(f.Close(), os.WriteFile(filepath.Join(from, "zeros"), make([]byte, 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	stream, contents := written(t, from)
	if len(stream) > 2<<20 {
		t.Errorf("the stream has %d bytes", len(stream))
	}
	if err := read(t, to, contents, stream); err != nil {
		t.Fatal(err)
	}
	_, again := written(t, to)
	if diff := cmp.Diff(contents, again); diff != "" {
		t.Errorf("the copy of the copy (-want +got):\n%s", diff)
	}
	got, err := os.Open(filepath.Join(to, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	end := make([]byte, 10)
	if n, err := got.ReadAt(end, size-10); string(end[5:n]) != "data!" || !errors.Is(err, nil) {
		t.Errorf("the end is %q, %v", end[:n], err)
	}
}

// A file that a program writes to is copied, and the description says that it changed.
func TestChangesMeanwhile(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(from, name), bytes.Repeat([]byte(name), 3<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stream bytes.Buffer
	w := &interfering{Writer: &stream, act: func() error {
		return errors.Join(os.Truncate(filepath.Join(from, "a"), 10), os.Truncate(filepath.Join(from, "b"), 10))
	}}
	contents, err := Write(t.Context(), from, own(), w)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(contents.Omitted, "\n"), "1 files changed while they were copied") {
		t.Errorf("omitted: %q", contents.Omitted)
	}
	if err := read(t, to, contents, stream.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// interfering calls a function once something was written.
type interfering struct {
	io.Writer
	act func() error
}

func (i *interfering) Write(p []byte) (int, error) {
	if i.act != nil {
		if err := i.act(); err != nil {
			return 0, err
		}
		i.act = nil
	}
	return i.Writer.Write(p)
}

// A copy that is cut anywhere, or that is described wrongly, is refused.
func TestDamagedStreams(t *testing.T) {
	from := t.TempDir()
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(from, fmt.Sprint(i)), []byte("some content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stream, contents := written(t, from)
	for cut := 0; cut < len(stream)-1024; cut += 512 {
		if err := read(t, t.TempDir(), contents, stream[:cut]); err == nil {
			t.Errorf("the first %d of %d bytes were restored", cut, len(stream))
		}
	}
	changed := bytes.Replace(stream, []byte("some content"), []byte("evil content"), 1)
	if err := read(t, t.TempDir(), contents, changed); !errors.Is(err, errDiffers) {
		t.Errorf("other content: %v", err)
	}
}
