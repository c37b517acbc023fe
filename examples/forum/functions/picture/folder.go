package picture

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // a format that visitors send
	_ "image/jpeg" // a format that visitors send
	_ "image/png"  // a format that visitors send
	"io"
	"io/fs"
	"os"
	"path"
)

// The limits of a photograph. Decoded, the largest formats (progressive JPEG, PNG with 16 bits a
// channel) take about 8 bytes a pixel, so that a function needs less than 256 MB.
const (
	MaxBytes  = 10 << 20
	MaxPixels = 16 << 20
	maxSide   = 16 << 10
)

// Folder is the folder of the images. No name leads outside.
type Folder struct{ root *os.Root }

// OpenFolder opens a folder of this machine.
func OpenFolder(name string) (*Folder, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open the folder of photographs: %w", err)
	}
	return &Folder{root}, nil
}

// Close closes the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Image decodes an untrusted file: it checks size and dimensions before it decodes pixels. held is
// for Upright. The error is a Refusal if the file is at fault.
func (f *Folder) Image(name string) (decoded image.Image, held int, err error) {
	content, err := f.read(name)
	if err != nil {
		return nil, 0, err
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(content))
	if err != nil {
		return nil, 0, refuse("this is not a photograph in JPEG, PNG or GIF: %s", err)
	}
	if err := bounded(config.Width, config.Height); err != nil {
		return nil, 0, err
	}
	decoded, _, err = image.Decode(bytes.NewReader(content))
	if err != nil {
		return nil, 0, refuse("the photograph is damaged: %s", err)
	}
	return decoded, orientation(content), nil
}

func (f *Folder) read(name string) ([]byte, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the photograph: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the photograph: %w", err)
	}
	if len(content) > MaxBytes {
		return nil, refuse("the photograph's file is larger than %d MB", MaxBytes>>20)
	}
	return content, nil
}

func bounded(width, height int) error {
	switch {
	case width < 1 || height < 1:
		return refuse("the photograph has no pixels")
	case width > maxSide || height > maxSide || width*height > MaxPixels:
		return refuse("the photograph has %d by %d pixels; at most %d million are allowed, and %d a side",
			width, height, MaxPixels/1_000_000, maxSide)
	}
	return nil
}

// Write writes a file, with the folders that it needs. A concurrent reader sees the previous or the
// whole new content.
func (f *Folder) Write(name string, content []byte) error {
	if err := f.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", name, err)
	}
	// Two activations may process the same photograph.
	temporary := fmt.Sprintf("%s.%s.part", name, rand.Text())
	err := f.root.WriteFile(temporary, content, 0o644)
	if err == nil {
		err = f.root.Rename(temporary, name)
	}
	if err != nil {
		if gone := f.root.Remove(temporary); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
