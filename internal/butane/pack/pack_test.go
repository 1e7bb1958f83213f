// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

func check(t *testing.T, data []byte) (packed int) {
	t.Helper()
	out := Gzip(data, 1<<30, nil)
	z, err := gzip.NewReader(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes come back as %d, %v", len(data), len(got), err)
	}
	return len(out)
}

func library(data []byte) int {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w.Write(data)
	w.Close()
	return b.Len()
}

// TestSizes compares with the standard library's best level: no more than three in a hundred, or 16 bytes, are lost.
func TestSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n, letters int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.IntN(letters))
		}
		return b
	}
	source, err := os.ReadFile("pack.go")
	if err != nil {
		t.Fatal(err)
	}
	skewed := []byte{} // Fibonacci counts make codes longer than 15 bits
	for i, a, b := 0, 1, 1; i < 24; i, a, b = i+1, b, a+b {
		skewed = append(skewed, bytes.Repeat([]byte{byte(i)}, a)...)
	}
	r.Shuffle(len(skewed), func(i, j int) { skewed[i], skewed[j] = skewed[j], skewed[i] })
	for name, data := range map[string][]byte{
		"nothing": nil, "a byte": {7}, "two": []byte("ab"), "one letter": bytes.Repeat([]byte("x"), 100000), "source": source, "source often": bytes.Repeat(source, 40),
		"random": random(100000, 256), "few letters": random(100000, 4), "skewed": skewed, "far": append(random(window, 256), random(window, 256)...),
		"lines": []byte(strings.Repeat("Environment=A=1\nExecStart=/usr/bin/true\n", 100)),
	} {
		ours, theirs := check(t, data), library(data)
		if ours > theirs+max(theirs*3/100, 16) {
			t.Errorf("%s: %d bytes, the library needs %d", name, ours, theirs)
		}
	}
	repeated := random(window+100, 256) // a copy at the largest distance, and one beyond it
	check(t, append(repeated, repeated...))
}

func TestLimit(t *testing.T) {
	data := bytes.Repeat([]byte("abcdefgh"), 1000)
	n := len(Gzip(data, len(data), nil))
	if Gzip(data, n, nil) == nil || Gzip(data, n-1, nil) != nil {
		t.Errorf("the limit is not %d", n)
	}
	random := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{})
	r.Read(random)
	if Gzip(random, len(random), nil) != nil {
		t.Error("random bytes were compressed")
	}
}

func FuzzGzip(f *testing.F) {
	f.Add([]byte("abcabcabcabc"), 3)
	f.Fuzz(func(t *testing.T, data []byte, times int) { check(t, bytes.Repeat(data, min(max(times, 0), 100))) })
}
