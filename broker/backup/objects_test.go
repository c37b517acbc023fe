package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/services"
)

func newServer(t testing.TB, h http.Handler) *httptest.Server {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// What was written can be checked and read, whatever its size, by the instance's key and by the
// operator's, and is gone after Delete.
func TestWriteAndRead(t *testing.T) {
	s := newStore(t)
	operator, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"nothing": {}, "a byte": {0}, "compressible": bytes.Repeat([]byte("chandler "), 1_000_000),
		"a part": random(32 << 20), "parts": random(70 << 20),
	} {
		t.Run(name, func(t *testing.T) {
			id := backup.Name(instance, strings.ReplaceAll(name, " ", "-"))
			var written, read int64
			stored, err := s.Write(t.Context(), id, append(s.recipients(), operator.Recipient()), 0,
				func(raw int64) { written = raw }, copies(content))
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(s.file(stored)); err != nil || info.Size() != stored.Stored {
				t.Errorf("%v; want %d bytes", err, stored.Stored)
			}
			if stored.Raw != int64(len(content)) || written != stored.Raw || !strings.HasPrefix(stored.Object, id+".") {
				t.Errorf("stored %+v, progress %d", stored, written)
			}
			if diff := cmp.Diff(contents(content), stored.Contents); diff != "" {
				t.Errorf("contents (-want +got):\n%s", diff)
			}
			if err := s.Check(t.Context(), stored); err != nil {
				t.Error(err)
			}
			for _, key := range []age.Identity{s.key, operator} {
				if got, err := s.read(t.Context(), stored, key); err != nil || !bytes.Equal(got, content) {
					t.Errorf("read %d of %d bytes: %v", len(got), len(content), err)
				}
			}
			err = s.Read(t.Context(), s.key, stored, func(raw int64) { read = raw }, func(context.Context, io.Reader) error { return nil })
			if err != nil || read != stored.Raw {
				t.Errorf("%v; the rest was not read: %d of %d", err, read, stored.Raw)
			}
			if err := s.Delete(t.Context(), id); err != nil {
				t.Error(err)
			}
			is(t, s.Check(t.Context(), stored), backup.ErrNotFound)
		})
	}
	s.isEmpty(t)
}

// A copy that fails leaves nothing, wherever it fails, and however.
func TestFailedWriteLeavesNothing(t *testing.T) {
	s := newStore(t)
	name, failure := backup.Name(instance, "failed"), errors.New("the dump failed")
	for _, size := range []int{0, 1000, 70 << 20} {
		content := random(size)
		for what, fail := range map[string]error{
			"an error": failure, "an end that the producer did not expect": io.ErrUnexpectedEOF, "an end": io.EOF,
		} {
			_, err := s.Write(t.Context(), name, s.recipients(), 0, nil, func(ctx context.Context, w io.Writer) (services.Contents, error) {
				c, err := copies(content)(ctx, w)
				return c, errors.Join(err, fail)
			})
			is(t, err, fail)
			if t.Failed() {
				t.Fatalf("%s after %d bytes", what, size)
			}
			s.isEmpty(t)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Write(ctx, name, s.recipients(), 0, nil, func(ctx context.Context, w io.Writer) (services.Contents, error) {
			c, err := copies(content)(ctx, w)
			cancel()
			return c, err // as if nothing had happened
		})
		is(t, err, context.Canceled)
		s.isEmpty(t)
	}
}

// A copy of more than the limit is refused, even if its writer ignores the error.
func TestWriteLimit(t *testing.T) {
	s := newStore(t)
	name := backup.Name(instance, "large")
	if _, err := s.Write(t.Context(), name, s.recipients(), 1000, nil, copies(random(1000))); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), name); err != nil {
		t.Error(err)
	}
	_, err := s.Write(t.Context(), name, s.recipients(), 1000, nil, func(ctx context.Context, w io.Writer) (services.Contents, error) {
		_, _ = w.Write(make([]byte, 1000))
		_, _ = w.Write(make([]byte, 1))
		if ctx.Err() == nil {
			t.Error("the copy goes on after the limit")
		}
		return services.Contents{Format: "test-1"}, nil
	})
	is(t, err, backup.ErrTooLarge)
	s.says(t, err, "1000 bytes", "max_size")
	s.isEmpty(t)
}

// Each damage is noticed by Check, and Read never ends as if the copy were complete.
func TestDamage(t *testing.T) {
	s := newStore(t)
	content := random(3 << 20)
	foreign := s.write(t, backup.Name(instance, "foreign"), content)
	other, err := os.ReadFile(s.file(foreign))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(object []byte) []byte{
		"a bit of the header": func(o []byte) []byte { o[30] ^= 1; return o },
		"a bit in the middle": func(o []byte) []byte { o[len(o)/2] ^= 1; return o },
		"a bit at the end":    func(o []byte) []byte { o[len(o)-1] ^= 1; return o },
		"empty":               func([]byte) []byte { return nil },
		"the header only":     func(o []byte) []byte { return o[:200] },
		"half":                func(o []byte) []byte { return o[:len(o)/2] },
		"a byte less":         func(o []byte) []byte { return o[:len(o)-1] },
		"a byte more":         func(o []byte) []byte { return append(o, 0) },
		"twice":               func(o []byte) []byte { return append(o, o...) },
		"another copy":        func([]byte) []byte { return other },
		"text":                func([]byte) []byte { return []byte("<html>") },
	} {
		t.Run(name, func(t *testing.T) {
			stored := s.write(t, backup.Name(instance, "damaged"), content)
			object, err := os.ReadFile(s.file(stored))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.file(stored), damage(object), 0o600); err != nil {
				t.Fatal(err)
			}
			is(t, s.Check(t.Context(), stored), backup.ErrDamaged)
			_, err = s.read(t.Context(), stored, s.key)
			is(t, err, backup.ErrDamaged)
			// A restore that takes any error for the end is told too.
			is(t, s.Read(t.Context(), s.key, stored, nil, func(_ context.Context, r io.Reader) error {
				_, _ = io.Copy(io.Discard, r)
				return nil
			}), backup.ErrDamaged)
		})
	}
}

// A small object that decompresses to a large copy is refused at the size that was stored.
func TestBomb(t *testing.T) {
	s := newStore(t)
	bomb := s.write(t, backup.Name(instance, "bomb"), make([]byte, 64<<20))
	if bomb.Stored > 100_000 {
		t.Fatalf("it has %d bytes", bomb.Stored)
	}
	claimed := bomb
	claimed.Raw = 1 << 20
	got, err := s.read(t.Context(), claimed, s.key)
	is(t, err, backup.ErrDamaged)
	if len(got) > 1<<20 {
		t.Errorf("%d bytes were decompressed", len(got))
	}
	claimed.Raw = 65 << 20
	_, err = s.read(t.Context(), claimed, s.key)
	is(t, err, backup.ErrDamaged)
}

// An object of 33 MB that decompresses to a terabyte, as whoever may write to the store could make it, is
// refused at once, and takes no memory.
func TestTerabyte(t *testing.T) {
	s := newStore(t)
	frame := compressed(t, make([]byte, 64<<20))
	var object bytes.Buffer
	out, err := age.Encrypt(&object, s.key.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	for range (1 << 40) / (64 << 20) {
		if _, err := out.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(object.Bytes())
	bomb := backup.Stored{
		Object: backup.Name(instance, "bomb") + ".aaaaaaaa.age", Raw: 1 << 20, Stored: int64(object.Len()), SHA256: hex.EncodeToString(sum[:]),
		Contents: contents(nil),
	}
	if err := s.replace(t, bomb, object.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), bomb); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, n := time.Now(), int64(0)
	err = s.Read(t.Context(), s.key, bomb, nil, func(_ context.Context, r io.Reader) (err error) {
		n, err = io.Copy(io.Discard, r)
		return err
	})
	runtime.ReadMemStats(&after)
	is(t, err, backup.ErrDamaged)
	took, memory := time.Since(began), after.TotalAlloc-before.TotalAlloc
	t.Logf("%d bytes of the stored %s in %s, with %s of memory", n, services.Size(object.Len()), took, services.Size(memory))
	if n > bomb.Raw || took > 20*time.Second || memory > 100<<20 {
		t.Error("that is too much")
	}
}

func compressed(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	encoder, err := zstd.NewWriter(&out, zstd.WithWindowSize(1<<20)) // a larger one is refused at once
	if err != nil {
		t.Fatal(err)
	}
	if _, err := encoder.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := encoder.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWrongKey(t *testing.T) {
	s := newStore(t)
	stored := s.write(t, backup.Name(instance, "1"), []byte("secret"))
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.read(t.Context(), stored, other)
	is(t, err, backup.ErrKey)
	if object, err := os.ReadFile(s.file(stored)); err != nil || bytes.Contains(object, []byte("secret")) {
		t.Errorf("the object is readable: %v", err)
	}
}

// A restore survives connections that break, and a store that is away for a moment.
func TestReadContinues(t *testing.T) {
	s := newStore(t)
	content := random(8 << 20)
	stored := s.write(t, backup.Name(instance, "1"), content)
	var requests atomic.Int32
	broken := s.behind(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) <= 6 {
				w = &cutting{ResponseWriter: w, left: 1<<20 + 128<<10} // that is progress
			}
			next.ServeHTTP(w, r)
		})
	})
	got, err := readFrom(t.Context(), broken, stored, s.key)
	if err != nil || !bytes.Equal(got, content) || requests.Load() < 6 {
		t.Errorf("read %d of %d bytes in %d requests: %v", len(got), len(content), requests.Load(), err)
	}
	t.Run("not another object", func(t *testing.T) {
		requests.Store(0)
		again := s.behind(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) == 1 {
					w = &cutting{ResponseWriter: w, left: 1 << 20}
				} else if err := s.replace(t, stored, random(9<<20)); err != nil {
					t.Error(err)
				}
				next.ServeHTTP(w, r)
			})
		})
		_, err := readFrom(t.Context(), again, stored, s.key)
		is(t, err, backup.ErrDamaged)
	})
}

// cutting breaks the connection after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// A store that is away, refuses, or has no such bucket is an error for the operator, which
// says what to do. Nothing is left, or the error says so.
func TestStoreErrors(t *testing.T) {
	s := newStore(t)
	write := func(o *backup.Objects, content []byte) error {
		_, err := o.Write(t.Context(), backup.Name(instance, "1"), s.recipients(), 0, nil, copies(content))
		return err
	}
	t.Run("a wrong secret", func(t *testing.T) {
		c := s.config
		c.SecretAccessKey = services.NewSecret("wrong-secret")
		s.says(t, write(open(t, c), random(10)), "secret_access_key")
		s.says(t, open(t, c).Ready(t.Context()), "backups.store")
	})
	t.Run("an unknown account", func(t *testing.T) {
		c := s.config
		c.AccessKeyID = "nobody"
		s.says(t, write(open(t, c), random(10)), "access_key_id")
	})
	t.Run("no bucket", func(t *testing.T) {
		c := s.config
		c.Bucket = "elsewhere"
		s.says(t, write(open(t, c), random(10)), "bucket of backups does not exist", "backups.store.bucket")
		s.says(t, open(t, c).Ready(t.Context()), "bucket of backups does not exist")
	})
	t.Run("away", func(t *testing.T) {
		c := s.config
		c.Endpoint = "http://127.0.0.1:1"
		s.says(t, write(open(t, c), random(10)), "does not answer", "backups.store.endpoint")
	})
	t.Run("away half-way", func(t *testing.T) {
		var away atomic.Bool
		o := s.behind(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if away.Load() && r.Method == http.MethodPut {
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, r)
			})
		})
		began := time.Now()
		_, err := o.Write(t.Context(), backup.Name(instance, "1"), s.recipients(), 0, nil, func(ctx context.Context, w io.Writer) (services.Contents, error) {
			c, err := copies(random(40<<20))(ctx, w)
			away.Store(true)
			_, _ = w.Write(random(40 << 20))
			<-ctx.Done() // a dump that waits for a lock is told
			return c, err
		})
		s.says(t, err, "does not answer")
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("full", func(t *testing.T) {
		full := s.behind(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					w.WriteHeader(http.StatusInsufficientStorage)
					_, _ = io.WriteString(w, "<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive threshold.</Message></Error>")
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		err := write(full, random(10))
		s.says(t, err, "is full")
		if !services.IsOutOfCapacity(err) {
			t.Errorf("%v is not out of capacity", err)
		}
	})
	s.isEmpty(t)
}

// A backup and a restore take the memory of a few parts, whatever the size.
func TestMemory(t *testing.T) {
	s := newStore(t)
	for name, limit := range map[string]int64{"8 MB parts": 50 << 30, "32 MB parts": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			block := random(1 << 20)
			runtime.GC()
			var most, before runtime.MemStats
			runtime.ReadMemStats(&before)
			sample := func() {
				var m runtime.MemStats
				if runtime.ReadMemStats(&m); m.HeapInuse > most.HeapInuse {
					most = m
				}
			}
			stored, err := s.Write(t.Context(), backup.Name(instance, "1"), s.recipients(), limit, nil, func(_ context.Context, w io.Writer) (services.Contents, error) {
				for i := range 256 {
					if _, err := w.Write(block); err != nil {
						return services.Contents{}, err
					}
					block[i]++
					sample()
				}
				return services.Contents{Format: "test-1"}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			written := most.HeapInuse - before.HeapInuse
			most = runtime.MemStats{}
			runtime.GC()
			err = s.Read(t.Context(), s.key, stored, nil, func(_ context.Context, r io.Reader) error {
				for {
					if _, err := io.ReadFull(r, block); err != nil {
						return nil //nolint:nilerr // Read says whether it is the end
					}
					sample()
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			read := most.HeapInuse - before.HeapInuse
			t.Logf("256 MB took %s to write and %s to read", services.Size(written), services.Size(read))
			if max(written, read) > 100<<20 {
				t.Error("that is too much")
			}
		})
	}
}

// Delete removes what a crash left: copies without a manifest and incomplete uploads. Those
// of another backup stay, even if its name begins with the same.
func TestDeleteAfterCrash(t *testing.T) {
	s := newStore(t)
	name := backup.Name(instance, "1")
	stays := s.write(t, name+"2", []byte("x"))
	s.write(t, name, []byte("x"))
	s.write(t, name, []byte("x"))
	if _, err := s.core(t).NewMultipartUpload(t.Context(), bucket, s.config.Prefix+"/"+name+".crashed.age", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and again
		if err := s.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if err := s.Check(t.Context(), stays); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), name+"2"); err != nil {
		t.Error(err)
	}
	s.isEmpty(t)
}
