package picture

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
)

// The used parts of Exif (CIPA DC-008, "Exchangeable image file format for digital still cameras:
// Exif Version 2.32").
const (
	markerAPP1     = 0xe1
	markerScan     = 0xda // start of scan: no more metadata follows
	tagOrientation = 0x0112
	typeShort      = 3
	upright        = 1
)

// orientation is how the camera was held: the Exif tag of a JPEG file, from 1 to 8; 1, upright, if
// the file has no tag.
func orientation(file []byte) int {
	if !bytes.HasPrefix(file, []byte{0xff, 0xd8}) {
		return upright
	}
	for rest := file[2:]; len(rest) >= 4 && rest[0] == 0xff && rest[1] != markerScan; {
		length := int(binary.BigEndian.Uint16(rest[2:])) // of the segment, these two bytes included
		if length < 2 || 2+length > len(rest) {
			break
		}
		segment := rest[4 : 2+length]
		if body, ok := bytes.CutPrefix(segment, []byte("Exif\x00\x00")); ok && rest[1] == markerAPP1 {
			return orientationOf(body)
		}
		rest = rest[2+length:]
	}
	return upright
}

// orientationOf searches the first directory of a TIFF structure (TIFF 6.0, section 2).
func orientationOf(tiff []byte) int {
	if len(tiff) < 8 {
		return upright
	}
	var order binary.ByteOrder = binary.BigEndian
	if tiff[0] == 'I' {
		order = binary.LittleEndian
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return upright
	}
	count := uint64(order.Uint16(tiff[at:]))
	for n := range count {
		entry := at + 2 + 12*n
		if entry+12 > uint64(len(tiff)) {
			break
		}
		if order.Uint16(tiff[entry:]) != tagOrientation || order.Uint16(tiff[entry+2:]) != typeShort {
			continue
		}
		if value := int(order.Uint16(tiff[entry+8:])); value >= upright && value <= 8 {
			return value
		}
		break
	}
	return upright
}

// rotated is a square image, upright.
type rotated struct {
	image.Image
	orientation int
}

// Upright returns a square image upright that was taken in an orientation.
func Upright(square image.Image, orientation int) image.Image {
	if orientation == upright {
		return square
	}
	return rotated{square, orientation}
}

// At implements image.Image. It finds the pixel of the original image as the tag defines.
func (t rotated) At(x, y int) color.Color {
	b := t.Bounds()
	x, y = x-b.Min.X, y-b.Min.Y
	last := b.Dx() - 1
	switch t.orientation {
	case 2: // mirrored
		x = last - x
	case 3: // upside down
		x, y = last-x, last-y
	case 4: // both
		y = last - y
	case 5: // the first row is the left side
		x, y = y, x
	case 6: // the first row is the right side
		x, y = y, last-x
	case 7: // right, mirrored
		x, y = last-y, last-x
	case 8: // left, mirrored
		x, y = last-y, x
	}
	return t.Image.At(b.Min.X+x, b.Min.Y+y)
}
