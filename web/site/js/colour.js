// The colour of an entropy. A straight line in OKLab from a quiet blue-grey to a strong orange:
// equal steps of entropy are equal steps to the eye, and blue against orange is a difference that
// the common forms of colour blindness keep. The height of a bar says the same without colour.

/** The entropy, in nats, that gets the last colour and the full height. */
export const FULL_NATS = 4;

/** How many colours the scale has. */
export const STEPS = 24;

// Lightness, chroma and hue (degrees) of both ends. Either end has a contrast of at least 4.5 to
// the ground of its theme, since text is written in these colours; `colour.test.js` measures it.
const ENDS = {
  light: [[0.56, 0.035, 255], [0.55, 0.2, 38]],
  dark: [[0.62, 0.03, 255], [0.78, 0.165, 58]],
};

/** The grounds that text stands on, as in `css/base.css`. */
export const GROUND = { light: "#fbfcfd", dark: "#0f1216" };

function labOf([lightness, chroma, hue]) {
  const angle = (hue * Math.PI) / 180;
  return [lightness, chroma * Math.cos(angle), chroma * Math.sin(angle)];
}

/** OKLab to linear sRGB (B. Ottosson's matrices), clipped to what a screen has. */
function linearOf([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const rgb = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return rgb.map((value) => Math.min(1, Math.max(0, value)));
}

function hexOf(linear) {
  const encode = (value) => {
    const gamma = value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055;
    return Math.round(gamma * 255).toString(16).padStart(2, "0");
  };
  return `#${linear.map(encode).join("")}`;
}

/** The colour at `share` of the scale, 0 to 1. */
export function colourAt(share, theme) {
  const [from, to] = ENDS[theme].map(labOf);
  return hexOf(linearOf(from.map((value, i) => value + (to[i] - value) * share)));
}

/** Which of the `STEPS` colours an entropy has. What is no number has the first. */
export function stepOf(nats) {
  const step = Math.floor((nats / FULL_NATS) * STEPS);
  return Math.min(STEPS - 1, Math.max(0, step || 0));
}

/** All colours of a theme, from the lowest entropy to the highest. */
export function palette(theme) {
  return Array.from({ length: STEPS }, (_, step) => colourAt(step / (STEPS - 1), theme));
}

/** The relative luminance of `#rrggbb`, as WCAG 2 defines it. */
function luminance(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** The contrast ratio of two colours, 1 to 21. */
export function contrast(a, b) {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}
