// Entropies as colours: a tile behind every character of the text, and a bar for every byte.
// They are read from the buffer of the runtime's results; the host sends only where characters lie.

struct View {
    size: vec2<f32>,      // of what is drawn, in points
    scale: f32,           // pixels of a point
    most_nats: f32,       // an entropy of so much has the strongest colour
    byte_count: u32,      // bytes of which the entropies are known
    first_byte: u32,      // of the bars
    bar_count: u32,
    is_dark: u32,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<storage, read> entropies: array<f32>; // [byte_count], nats

struct Corner {
    @builtin(position) position: vec4<f32>,
    @location(0) from_centre: vec2<f32>,               // in points
    @location(1) @interpolate(flat) half: vec2<f32>,   // in points
    @location(2) @interpolate(flat) rounded: vec2<f32>, // radius of the left and the right corners
    @location(3) @interpolate(flat) color: vec4<f32>,
}

// The colour of an entropy, premultiplied: nothing where the model is sure, then blue-green, then
// amber, then red.
fn heat(nats: f32) -> vec4<f32> {
    let t = clamp(nats / view.most_nats, 0.0, 1.0);
    var cool = vec3<f32>(0.62, 0.83, 0.82);
    var warm = vec3<f32>(0.98, 0.79, 0.45);
    var hot = vec3<f32>(0.95, 0.52, 0.40);
    if (view.is_dark == 1u) {
        cool = vec3<f32>(0.13, 0.36, 0.38);
        warm = vec3<f32>(0.55, 0.39, 0.12);
        hot = vec3<f32>(0.66, 0.24, 0.18);
    }
    let color = mix(mix(cool, warm, smoothstep(0.15, 0.6, t)), hot, smoothstep(0.55, 1.0, t));
    let alpha = 0.16 + 0.84 * smoothstep(0.0, 0.45, t);
    return vec4<f32>(color * alpha, alpha);
}

fn corner(rect: vec4<f32>, rounded: vec2<f32>, color: vec4<f32>, index: u32) -> Corner {
    let side = vec2<f32>(f32(index & 1u), f32((index >> 1u) & 1u));
    let half = 0.5 * (rect.zw - rect.xy);
    let place = mix(rect.xy, rect.zw, side);
    let ndc = place / view.size * 2.0 - 1.0;
    let position = vec4<f32>(ndc.x, -ndc.y, 0.0, 1.0);
    return Corner(position, (side * 2.0 - 1.0) * half, half, rounded, color);
}

@vertex
fn tile(
    @builtin(vertex_index) index: u32,
    @location(0) rect: vec4<f32>,
    @location(1) byte_and_ends: vec2<u32>, // the byte; 1: a patch begins here, 2: it ends here
) -> Corner {
    let byte = byte_and_ends.x;
    if (byte >= view.byte_count) {
        return corner(vec4<f32>(0.0), vec2<f32>(0.0), vec4<f32>(0.0), index);
    }
    let begins = f32(byte_and_ends.y & 1u);
    let ends = f32((byte_and_ends.y >> 1u) & 1u);
    // A gap between patches: that is the cut.
    let inset = vec4<f32>(rect.x + 1.25 * begins, rect.y, rect.z - 1.25 * ends, rect.w);
    let rounded = vec2<f32>(0.01 + 4.5 * begins, 0.01 + 4.5 * ends);
    return corner(inset, rounded, heat(entropies[byte]), index);
}

@vertex
fn bar(@builtin(vertex_index) index: u32, @builtin(instance_index) instance: u32) -> Corner {
    let byte = view.first_byte + instance;
    let width = view.size.x / f32(view.bar_count);
    let gap = min(1.0, 0.2 * width);
    let nats = entropies[min(byte, view.byte_count - 1u)];
    let height = max(1.5, min(nats / view.most_nats, 1.0) * view.size.y);
    let left = f32(instance) * width;
    let rect = vec4<f32>(left, view.size.y - height, left + width - gap, view.size.y);
    var color = heat(nats);
    color = vec4<f32>(color.rgb / max(color.a, 0.01), 1.0);
    return corner(rect, vec2<f32>(min(1.5, 0.4 * width)), color, index);
}

// How much of a pixel lies in a rectangle with rounded corners.
@fragment
fn rounded_rect(it: Corner) -> @location(0) vec4<f32> {
    let radius = select(it.rounded.x, it.rounded.y, it.from_centre.x > 0.0);
    let beyond = abs(it.from_centre) - it.half + radius;
    let distance = length(max(beyond, vec2<f32>(0.0))) + min(max(beyond.x, beyond.y), 0.0) - radius;
    let covered = select(1.0, clamp(0.5 - distance * view.scale, 0.0, 1.0), radius > 0.1);
    return it.color * covered;
}
