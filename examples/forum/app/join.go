package main

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

// The limits of a form: the photograph, with space for names and boundaries, and the part of it
// that stays in memory.
const (
	maxForm  = picture.MaxBytes + 64<<10
	inMemory = 1 << 20
	maxName  = 80
)

// join registers a visitor: fields name and photograph of a multipart form.
func (f *forum) join(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseMultipartForm(inMemory); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return refuse(http.StatusRequestEntityTooLarge, "a photograph may have at most %d MB", picture.MaxBytes>>20)
		}
		return refuse(http.StatusBadRequest, "this is not a form with a name and a photograph")
	}
	called := strings.TrimSpace(r.PostFormValue("name"))
	if !presentable(called) {
		return refuse(http.StatusUnprocessableEntity, "a name must have 1 to %d visible characters", maxName)
	}
	file, header, err := r.FormFile("photograph")
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "send a photograph as well")
	}
	defer file.Close()
	kind, err := mediaType(file)
	if err != nil {
		return err
	}
	m, err := f.register(r.Context(), called, photograph{content: file, size: header.Size, kind: kind})
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/members/"+m.ID, http.StatusSeeOther)
	return nil
}

func presentable(called string) bool {
	return called != "" && utf8.ValidString(called) && utf8.RuneCountInString(called) <= maxName &&
		!strings.ContainsFunc(called, func(r rune) bool { return !unicode.IsPrint(r) })
}

// mediaType detects a photograph's type from its first bytes.
func mediaType(file multipart.File) (string, error) {
	first := make([]byte, 512)
	n, err := io.ReadFull(file, first)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	kind := http.DetectContentType(first[:n])
	if !slices.Contains([]string{"image/jpeg", "image/png", "image/gif"}, kind) {
		return "", refuse(http.StatusUnsupportedMediaType, "a photograph must be in JPEG, PNG or GIF")
	}
	return kind, nil
}
