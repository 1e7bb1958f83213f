// SPDX-License-Identifier: Apache-2.0

// Package pack writes gzip, well compressed and all at once, for texts that
// become part of a config. compress/gzip costs 40 KiB more, most of it for
// speed and streaming, which nobody needs here; it is what reads the result.
package pack

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	window     = 1 << 15
	shortest   = 3   // lengths of matches
	longest    = 258 //
	maxChain   = 256
	blockSize  = 1 << 15 // tokens that share their codes
	endOfBlock = 256
	maxBits    = 15 // of a hash
)

// The code of a length is its place in this list, from 257 on; in that of distances it can be computed.
var lengthBase = [...]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}

// token is a literal byte, or a match: its length above the 16 bits of the distance.
type token uint32

func match(length, distance int) token { return token(length)<<16 | token(distance) }

// Gzip compresses data to one gzip member without name and time. It gives up, with nil, on a result longer than limit.
// watch, if not nil, is told at first and now and then how many bytes are done.
func Gzip(data []byte, limit int, watch func(done int)) []byte {
	if watch == nil {
		watch = func(int) {}
	}
	w := writer{out: []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255}}
	w.compress(data, limit, watch)
	w.bits(0, 7) // to the end of the byte
	out := binary.LittleEndian.AppendUint32(w.out, crc32.ChecksumIEEE(data))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(data)))
	if len(out) > limit {
		return nil
	}
	return out
}

// finder looks for earlier copies of what stands at a place.
type finder struct {
	data  []byte
	shift uint
	head  []int32 // the last place with a hash, counted from 1
	prev  []int32 // and the one before each place, as far back as the window goes
}

// newFinder sizes its tables after the data: most are small.
func newFinder(data []byte) *finder {
	bits := uint(4)
	for bits < maxBits && len(data)>>bits > 0 {
		bits++
	}
	return &finder{data, 32 - bits, make([]int32, 1<<bits), make([]int32, min(len(data), window))}
}

func (f *finder) hash(i int) uint32 {
	return (uint32(f.data[i])<<16 | uint32(f.data[i+1])<<8 | uint32(f.data[i+2])) * 2654435761 >> f.shift
}

func (f *finder) insert(i int) {
	if i+shortest <= len(f.data) {
		h := f.hash(i)
		f.prev[i%window], f.head[h] = f.head[h], int32(i+1)
	}
}

// find gives the longest match of what stands at i.
func (f *finder) find(i int) (length, distance int) {
	if i+shortest > len(f.data) {
		return 0, 0
	}
	length = shortest - 1
	limit := min(longest, len(f.data)-i)
	for at, n := int(f.head[f.hash(i)])-1, 0; at >= 0 && i-at <= window && n < maxChain && length < limit; at, n = int(f.prev[at%window])-1, n+1 {
		if f.data[at+length] != f.data[i+length] {
			continue
		}
		k := 0
		for k < limit && f.data[at+k] == f.data[i+k] {
			k++
		}
		if k > length {
			length, distance = k, i-at
		}
	}
	if length < shortest || length == shortest && distance > window/8 { // three literals are cheaper
		return 0, 0
	}
	return length, distance
}

// compress replaces what occurred before. A match waits until the next place has no better one.
func (w *writer) compress(data []byte, limit int, watch func(done int)) {
	watch(0)
	f := newFinder(data)
	tokens := make([]token, 0, min(len(data), blockSize))
	for i := 0; i < len(data); {
		if len(tokens) == blockSize {
			if w.block(tokens, false); len(w.out) > limit {
				return
			}
			tokens = tokens[:0]
			watch(i)
		}
		length, distance := f.find(i)
		f.insert(i)
		if length > 0 && length < longest && i+1 < len(data) {
			if next, _ := f.find(i + 1); next > length {
				length = 0
			}
		}
		if length == 0 {
			tokens = append(tokens, token(data[i]))
			i++
			continue
		}
		tokens = append(tokens, match(length, distance))
		for n := 1; n < length; n++ {
			f.insert(i + n)
		}
		i += length
	}
	w.block(tokens, true)
}

// writer collects bits, the lowest first.
type writer struct {
	out   []byte
	held  uint64
	count uint
}

func (w *writer) bits(value, n uint) {
	w.held |= uint64(value) << w.count
	for w.count += n; w.count >= 8; w.count -= 8 {
		w.out = append(w.out, byte(w.held))
		w.held >>= 8
	}
}

// symbols splits a token into the symbol of a literal or length with its extra bits, and the same of a distance.
func (t token) symbols() (symbol, extra, bits, distance, distanceExtra, distanceBits uint) {
	if t < 1<<16 {
		return uint(t), 0, 0, 0, 0, 0
	}
	length, d := uint(t>>16), uint(t&0xffff)-1
	code := uint(len(lengthBase) - 1)
	for length < uint(lengthBase[code]) {
		code--
	}
	if code >= 8 && code < 28 {
		bits = code/4 - 1
	}
	symbol, extra = 257+code, length-uint(lengthBase[code])
	distance = d
	if d >= 4 {
		for distanceBits = 1; d>>(distanceBits+2) > 0; distanceBits++ {
		}
		distance = 2*distanceBits + d>>distanceBits
		distanceExtra = d & (1<<distanceBits - 1)
	}
	return symbol, extra, bits, distance, distanceExtra, distanceBits
}

// block writes tokens with Huffman codes of their own.
func (w *writer) block(tokens []token, last bool) {
	counts, distances := make([]int, 286), make([]int, 30)
	counts[endOfBlock] = 1
	for _, t := range tokens {
		symbol, _, _, distance, _, _ := t.symbols()
		counts[symbol]++
		if symbol > endOfBlock {
			distances[distance]++
		}
	}
	literal, far := newCodes(counts, 15), newCodes(distances, 15)
	w.bits(map[bool]uint{true: 1}[last], 1)
	w.bits(2, 2)
	w.codes(literal, far)
	for _, t := range tokens {
		symbol, extra, bits, distance, distanceExtra, distanceBits := t.symbols()
		w.symbol(literal, symbol)
		if symbol > endOfBlock {
			w.bits(extra, bits)
			w.symbol(far, distance)
			w.bits(distanceExtra, distanceBits)
		}
	}
	w.symbol(literal, endOfBlock)
}

func (w *writer) symbol(c []code, s uint) { w.bits(uint(c[s].bits), uint(c[s].length)) }

// codes writes the lengths of both codes, themselves in a code.
func (w *writer) codes(literal, far []code) {
	order := [...]uint{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	type run struct{ symbol, extra, bits uint }
	var runs []run
	counts := make([]int, len(order))
	lengths := append(append([]code(nil), literal...), far...)
	for i := 0; i < len(lengths); {
		n := 1
		for i+n < len(lengths) && lengths[i+n].length == lengths[i].length && n < 138 {
			n++
		}
		r := run{symbol: uint(lengths[i].length)}
		switch {
		case r.symbol == 0 && n >= 11:
			r = run{18, uint(n - 11), 7}
		case r.symbol == 0 && n >= 3:
			r = run{17, uint(n - 3), 3}
		case i > 0 && n >= 3 && lengths[i-1].length == lengths[i].length:
			n = min(n, 6)
			r = run{16, uint(n - 3), 2}
		default:
			n = 1
		}
		runs = append(runs, r)
		counts[r.symbol]++
		i += n
	}
	c := newCodes(counts, 7)
	w.bits(uint(len(literal)-257), 5)
	w.bits(uint(len(far)-1), 5)
	w.bits(uint(len(order)-4), 4)
	for _, s := range order {
		w.bits(uint(c[s].length), 3)
	}
	for _, r := range runs {
		w.symbol(c, r.symbol)
		w.bits(r.extra, r.bits)
	}
}

// code is the Huffman code of one symbol, its first bit the lowest.
type code struct {
	bits   uint16
	length uint8
}

// newCodes makes codes no longer than limit. Counts that ask for longer ones are flattened until they do not.
func newCodes(counts []int, limit uint8) []code {
	codes := make([]code, len(counts))
	for !setLengths(codes, counts, limit) {
		for i, n := range counts {
			if n > 0 {
				counts[i] = n/2 + 1
			}
		}
	}
	next := uint(0)
	for length := uint8(1); length <= limit; length++ {
		next <<= 1
		for i := range codes {
			if codes[i].length == length {
				for b := range length {
					codes[i].bits |= uint16(next>>b&1) << (length - 1 - b)
				}
				next++
			}
		}
	}
	return codes
}

// setLengths sets the lengths of a Huffman code. It tells whether all are within the limit.
func setLengths(codes []code, counts []int, limit uint8) bool {
	type node struct {
		count, symbol, parent int
		depth                 uint8
	}
	var nodes []node
	for s, n := range counts {
		if n > 0 {
			nodes = append(nodes, node{count: n, symbol: s})
		}
	}
	for i := range nodes { // few enough to sort by insertion
		for ; i > 0 && nodes[i].count < nodes[i-1].count; i-- {
			nodes[i], nodes[i-1] = nodes[i-1], nodes[i]
		}
	}
	leaves := len(nodes)
	if leaves == 1 {
		codes[nodes[0].symbol].length = 1
		return true
	}
	leaf, inner := 0, leaves
	least := func() int { // of the leaves and of the joined nodes, both sorted, the next
		if leaf < leaves && (inner >= len(nodes) || nodes[leaf].count <= nodes[inner].count) {
			leaf++
			return leaf - 1
		}
		inner++
		return inner - 1
	}
	for range leaves - 1 {
		a, b := least(), least()
		nodes[a].parent, nodes[b].parent = len(nodes), len(nodes)
		nodes = append(nodes, node{count: nodes[a].count + nodes[b].count})
	}
	for i := len(nodes) - 2; i >= 0; i-- {
		n := &nodes[i]
		n.depth = nodes[n.parent].depth + 1
		if i < leaves {
			if n.depth > limit {
				return false
			}
			codes[n.symbol].length = n.depth
		}
	}
	return true
}
