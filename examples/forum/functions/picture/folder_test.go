package picture

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func encoded(t *testing.T, format string, width, height int) []byte {
	t.Helper()
	in := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black, color.White})
	var file bytes.Buffer
	var err error
	switch format {
	case "jpeg":
		err = jpeg.Encode(&file, in, nil)
	case "png":
		err = png.Encode(&file, in)
	case "gif":
		err = gif.Encode(&file, in, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// claiming is a PNG whose header claims other dimensions than it has.
func claiming(file []byte, width, height uint32) []byte {
	file = bytes.Clone(file)
	header := file[12:29] // "IHDR" and its 13 bytes
	binary.BigEndian.PutUint32(header[4:], width)
	binary.BigEndian.PutUint32(header[8:], height)
	binary.BigEndian.PutUint32(file[29:], crc32.ChecksumIEEE(header))
	return file
}

func TestImage(t *testing.T) {
	small := encoded(t, "png", 40, 30)
	tests := []struct {
		name    string
		file    []byte
		refused string
	}{
		{"JPEG", encoded(t, "jpeg", 40, 30), ""},
		{"PNG", small, ""},
		{"GIF", encoded(t, "gif", 40, 30), ""},
		{"as large as allowed", encoded(t, "png", 4096, 4096), ""},
		{"too many pixels", encoded(t, "png", 4097, 4096), "million are allowed"},
		{"too wide", encoded(t, "png", 16<<10+1, 1), "a side"},
		{"a bomb", claiming(small, 1<<31-1, 1<<31-1), "not a photograph"},
		{"a bomb whose area overflows 32 bits", claiming(small, 65536, 65536), "million are allowed"},
		{"a header that lies", claiming(small, 4000, 4000), "damaged"},
		{"cut off", encoded(t, "jpeg", 400, 300)[:700], "damaged"},
		{"nothing", nil, "not a photograph"},
		{"text", []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), "not a photograph"},
		{"too large a file", append(bytes.Clone(small), make([]byte, MaxBytes)...), "larger than 10 MB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := openFolder(t, map[string][]byte{"photograph": test.file})
			_, _, err := folder.Image("photograph")
			refusal, refused := errors.AsType[*Refusal](err)
			switch {
			case test.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.refused != "" && !refused:
				t.Errorf("error %v is no refusal", err)
			case refused && !strings.Contains(refusal.reason, test.refused):
				t.Errorf("refused because %q, not because of %q", refusal.reason, test.refused)
			}
		})
	}
}

// What is refused costs no more memory than its file.
func TestRefusalIsCheap(t *testing.T) {
	folder := openFolder(t, map[string][]byte{"photograph": claiming(encoded(t, "png", 40, 30), 16000, 16000)})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := folder.Image("photograph")
	runtime.ReadMemStats(&after)
	if _, refused := errors.AsType[*Refusal](err); !refused {
		t.Fatalf("not refused: %v", err)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
		t.Errorf("it took %d bytes", taken)
	}
}

func TestWrite(t *testing.T) {
	folder := openFolder(t, nil)
	for _, content := range []string{"first", "second"} {
		if err := folder.Write("pictures/a.jpg", []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := folder.read("pictures/a.jpg")
		if err != nil || string(got) != content {
			t.Errorf("read %q, %v", got, err)
		}
	}
	names, err := filepath.Glob(filepath.Join(folder.root.Name(), "pictures", "*"))
	if err != nil || len(names) != 1 {
		t.Errorf("left in the folder: %v, %v", names, err)
	}
	for _, name := range []string{"../outside", "/outside", "pictures/../../outside"} {
		if err := folder.Write(name, []byte("x")); err == nil {
			t.Errorf("wrote to %s", name)
		}
	}
}

func openFolder(t *testing.T, files map[string][]byte) *Folder {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	return folder
}

func TestMain_answers(t *testing.T) {
	dir := t.TempDir()
	done := func(_ *Folder, job *Job) error { job.Picture = "p"; return nil }
	tests := []struct {
		name, in string
		work     Work
		want     map[string]any
	}{
		{"done", `{"id":"a1","photograph":"o"}`, done, map[string]any{"id": "a1", "photograph": "o", "picture": "p"}},
		{"of an event", `{"cloudevent":{"id":"a1"},"data":{"id":"a1","photograph":"o"}}`, done,
			map[string]any{"id": "a1", "photograph": "o", "picture": "p"}},
		{"refused", `{"id":"a1","photograph":"o"}`, func(*Folder, *Job) error { return refuse("%d heads", 2) },
			map[string]any{"id": "a1", "photograph": "o", "refused": "2 heads"}},
		{"refused before", `{"id":"a1","photograph":"o","refused":"a reason"}`, done,
			map[string]any{"id": "a1", "photograph": "o", "refused": "a reason"}},
		{"failed", `{"id":"a1","photograph":"o"}`, func(*Folder, *Job) error { return errors.New("no disk") },
			map[string]any{"error": "no disk"}},
		{"an id that is a path", `{"id":"../a","photograph":"o"}`, done,
			map[string]any{"error": "the parameters need id (letters, digits and hyphens), photograph and folder"}},
		{"nothing", `{}`, done,
			map[string]any{"error": "the parameters need id (letters, digits and hyphens), photograph and folder"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in, out := withFolder(t, test.in, dir), &bytes.Buffer{}
			if err := Main(in, out, test.work); err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func withFolder(t *testing.T, params, dir string) *bytes.Reader {
	t.Helper()
	var in map[string]any
	if err := json.Unmarshal([]byte(params), &in); err != nil {
		t.Fatal(err)
	}
	if len(in) > 0 {
		in["folder"] = dir
	}
	out, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(out)
}
