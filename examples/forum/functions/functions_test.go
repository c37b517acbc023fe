// Package functions_test runs the forum's functions as a platform would: compiled
// to WASI, with one mounted folder.
package functions_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

// sequence runs modules one after another, each on the answer of the one before.
type sequence struct {
	interpreter string // wazero's command: in this process a race detector would slow it down
	cache       string
	modules     []string
	folder      string // on this machine
}

func newSequence(t *testing.T, names ...string) *sequence {
	t.Helper()
	dir := t.TempDir()
	s := &sequence{interpreter: filepath.Join(dir, "wazero"), cache: filepath.Join(dir, "cache")}
	build(t, s.interpreter, "github.com/tetratelabs/wazero/cmd/wazero")
	for _, name := range names {
		module := filepath.Join(dir, name+".wasm")
		build(t, module, "./"+name, "GOOS=wasip1", "GOARCH=wasm")
		s.modules = append(s.modules, module)
	}
	return s
}

func build(t *testing.T, out, source string, environment ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", out, source)
	c.Env = append(os.Environ(), environment...)
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", source, err, text)
	}
}

func (s *sequence) run(t *testing.T, params map[string]any) map[string]any {
	t.Helper()
	for _, module := range s.modules {
		maps.Copy(params, map[string]any{"folder": "/photographs"})
		in, err := json.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		c := exec.CommandContext(t.Context(), s.interpreter, "run", "-cachedir", s.cache, "-mount", s.folder+":/photographs", module)
		c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(in), &out, &log
		if err := c.Run(); err != nil {
			t.Fatalf("%v\n%s", err, log.Bytes())
		}
		params = map[string]any{}
		if err := json.Unmarshal(out.Bytes(), &params); err != nil {
			t.Fatalf("the answer %q: %v", out.Bytes(), err)
		}
	}
	return params
}

func (s *sequence) put(t *testing.T, name string, encode func(*bytes.Buffer) error) {
	t.Helper()
	var file bytes.Buffer
	if err := encode(&file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.folder, name), file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stripes are blue, red, blue, so that the middle can be told.
func stripes(width, height int) image.Image {
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.RGBA{B: 255, A: 255}
			if abs(2*x-width) < height {
				c = color.RGBA{R: 255, A: 255}
			}
			out.SetRGBA(x, y, c)
		}
	}
	return out
}

func abs(n int) int { return max(n, -n) }

func TestFunctions(t *testing.T) {
	s := newSequence(t, "crop", "compress")
	for name, test := range map[string]func(*testing.T, *sequence){
		"crop and compress": cropAndCompress, "refused": refused,
	} {
		t.Run(name, func(t *testing.T) {
			s.folder = t.TempDir()
			test(t, s)
		})
	}
}

func cropAndCompress(t *testing.T, s *sequence) {
	s.put(t, "one", func(file *bytes.Buffer) error { return jpeg.Encode(file, stripes(1200, 400), nil) })
	got := s.run(t, map[string]any{"id": "m1", "photograph": "one"})
	size, _ := got["size"].(float64)
	if size < 500 || size > 16<<10 {
		t.Errorf("%v bytes", size)
	}
	delete(got, "size")
	want := map[string]any{
		"id": "m1", "photograph": "one", "cropped": "cropped/m1.png", "picture": "pictures/m1.jpg",
		"width": 320.0, "height": 320.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	file, err := os.Open(filepath.Join(s.folder, "pictures/m1.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	small, err := jpeg.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []image.Point{{8, 8}, {160, 160}, {311, 311}} {
		if r, _, b, _ := small.At(at.X, at.Y).RGBA(); r>>8 < 230 || b>>8 > 40 {
			t.Errorf("at %v it is %v, not the red of the middle", at, small.At(at.X, at.Y))
		}
	}
}

// refused: a photograph that is refused passes both functions and ends as an answer.
func refused(t *testing.T, s *sequence) {
	s.put(t, "large", func(file *bytes.Buffer) error { return png.Encode(file, image.NewGray(image.Rect(0, 0, 16001, 1100))) })
	got := s.run(t, map[string]any{"id": "m3", "photograph": "large"})
	want := map[string]any{
		"id": "m3", "photograph": "large",
		"refused": "the photograph has 16001 by 1100 pixels; " +
			"at most 16 million are allowed, and 16384 a side",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if picture.MaxPixels >= 16001*1100 {
		t.Error("the photograph of this test is not too large")
	}
	if entries, err := os.ReadDir(s.folder); err != nil || len(entries) != 1 {
		t.Errorf("beside the photograph there are %v, %v", entries, err)
	}
}
