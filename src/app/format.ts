/**
 * Numbers for people: with units, in the page's language, never more digits than mean something. Pure functions.
 * Bytes are decimal (1 GB = 10⁹), as file managers and GPU boxes print them.
 */
import type { Language } from './i18n/language';

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'] as const;

/** 31741718 → "31.7 MB". */
export function bytes(value: number): string {
	let power = 0;
	while (power < UNITS.length - 1 && value >= 1000 ** (power + 1) * 0.9995) power++;
	const scaled = value / 1000 ** power;
	const digits = power === 0 || scaled >= 99.95 ? 0 : 1;
	return `${scaled.toFixed(digits)} ${UNITS[power] ?? 'B'}`;
}

/** Whole seconds as "3分20秒" / "3 min 20 s"; above an hour without seconds. */
export function duration(seconds: number, language: Language): string {
	const total = Math.max(0, Math.round(seconds));
	const h = Math.floor(total / 3600);
	const m = Math.floor((total % 3600) / 60);
	const s = total % 60;
	const part = (n: number, ja: string, en: string) => (language === 'ja' ? `${n}${ja}` : `${n} ${en}`);
	const space = language === 'ja' ? '' : ' ';
	if (h > 0) return part(h, '時間', 'h') + (m > 0 ? space + part(m, '分', 'min') : '');
	if (m > 0) return part(m, '分', 'min') + (s > 0 ? space + part(s, '秒', 's') : '');
	return part(s, '秒', 's');
}

/** Steps per second from 1 up, seconds per step below: "1.8 it/s", "2.4 s/it". */
export function speed(stepsPerSecond: number): string {
	if (!(stepsPerSecond > 0)) return '–';
	return stepsPerSecond >= 1 ? `${stepsPerSecond.toFixed(stepsPerSecond >= 10 ? 0 : 1)} it/s` : `${(1 / stepsPerSecond).toFixed(1)} s/it`;
}

/** Rates and losses: 0.005 → "0.005", 5e-5 → "5e-5", 0.01234567 → "0.01235". */
export function short(value: number): string {
	if (!Number.isFinite(value)) return String(value);
	if (value === 0) return '0';
	const size = Math.abs(value);
	const digits = Number(value.toPrecision(4));
	if (size < 1e-3 || size >= 1e6) return digits.toExponential().replace('e+', 'e');
	return String(digits);
}

/** A number as a form shows it: every digit, small ones as people write rates: 5e-5. */
export function exact(value: number): string {
	const size = Math.abs(value);
	return size > 0 && size < 1e-3 ? value.toExponential() : String(value);
}

export function count(value: number, language: Language): string {
	return value.toLocaleString(language === 'ja' ? 'ja-JP' : 'en-GB');
}

/** 15805244 → "15.8 M" (parameters). */
export function millions(value: number): string {
	return value >= 1e9 ? `${(value / 1e9).toFixed(2)} B` : `${(value / 1e6).toFixed(1)} M`;
}

/** 0.0317 → "3.2 %"; tiny but not nothing stays visible. */
export function percent(fraction: number): string {
	const value = fraction * 100;
	if (value > 0 && value < 0.1) return '< 0.1 %';
	return `${value.toFixed(value < 10 && value > 0 ? 1 : 0)} %`;
}

/** Strengths with a true minus sign and no needless zeros: -0.5 → "−0.5". */
export function signed(value: number): string {
	return String(Math.abs(value) < 1e-9 ? 0 : Number(value.toFixed(3))).replace('-', '−');
}

export function dateTime(milliseconds: number, language: Language): string {
	const options: Intl.DateTimeFormatOptions = { dateStyle: 'medium', timeStyle: 'short' };
	return new Date(milliseconds).toLocaleString(language === 'ja' ? 'ja-JP' : 'en-GB', options);
}
