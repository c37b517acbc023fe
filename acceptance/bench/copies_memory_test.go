package bench_test

import (
	"crypto/md5"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// BenchmarkCopyMemory backs up shares of 3 GB each (12 times copyBytes) and reports how much memory the broker needs: one
// alone, two at once, and two to a store that is slower than they are. The store forgets what it gets.
func BenchmarkCopyMemory(b *testing.B) {
	size := 12 * copyBytes()
	store := &forgetful{}
	server := httptest.NewServer(store)
	defer server.Close()
	c := newCopiesTo(b, "smb", map[string]string{
		"CHANDLER_BACKUPS_ENDPOINT": server.URL, "CHANDLER_BACKUPS_BUCKET": copyBucket, "CHANDLER_BACKUPS_REGION": "us-east-1",
		"CHANDLER_BACKUPS_ACCESS_KEY_ID": "key", "CHANDLER_BACKUPS_SECRET_ACCESS_KEY": "secret",
	})
	file := func(access map[string]any) string {
		return filepath.Join(c.d.Value("SMB_FOLDER"), access["share"].(string), "large")
	}
	other := uuid.NewString()
	c.provision(other, nil)
	check(b, writeNoise(file(c.access), size))
	check(b, os.Link(file(c.access), file(c.bind(other)))) // the same file in both
	pid := c.broker.Process().PID()
	b.ReportMetric(memory(b, pid, "VmRSS"), "MB-before")
	for _, run := range []struct {
		what  string
		pause time.Duration // of each part
		list  []string
	}{
		{"one", 0, []string{c.source}}, {"two", 0, []string{c.source, other}}, {"slow", 100 * time.Millisecond, []string{c.source, other}},
	} {
		check(b, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o200)) // VmHWM begins anew
		store.set(run.pause)
		var all errgroup.Group
		for _, id := range run.list {
			all.Go(func() error { return c.backUpOf(id) })
		}
		check(b, all.Wait())
		most := memory(b, pid, "VmHWM")
		b.ReportMetric(most, "MB-"+run.what)
		table.add(fmt.Sprintf("memory of the broker that backs up %d MB (%s)", size>>20, run.what), fmt.Sprintf("%.0f MB", most), "below 100 MB", most < 100)
	}
}

func writeNoise(name string, size int64) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffer := make([]byte, 16<<20)
	noise(buffer)
	for range size / int64(len(buffer)) {
		if _, err := f.Write(buffer); err != nil {
			return err
		}
	}
	return nil
}

// forgetful is a store that answers as S3 does, and keeps nothing.
type forgetful struct {
	mu    sync.Mutex
	pause time.Duration
}

func (f *forgetful) set(pause time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pause = pause
}

// ServeHTTP implements http.Handler.
func (f *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	pause := f.pause
	f.mu.Unlock()
	sum := md5.New()
	_, _ = io.Copy(sum, r.Body)
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPut:
		if query.Has("partNumber") {
			time.Sleep(pause)
		}
		w.Header().Set("ETag", strconv.Quote(fmt.Sprintf("%x", sum.Sum(nil))))
	case r.Method == http.MethodPost && query.Has("uploads"):
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName     xml.Name `xml:"InitiateMultipartUploadResult"`
			Bucket, Key string
			UploadID    string `xml:"UploadId"`
		}{Bucket: copyBucket, Key: r.URL.Path, UploadID: "upload"})
	case r.Method == http.MethodPost:
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
			Bucket, Key, ETag string
		}{Bucket: copyBucket, Key: r.URL.Path, ETag: `"0"`})
	}
}
